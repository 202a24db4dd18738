/* fork_without_exec: a child goes on with its parent's heap: it reads, frees and grows what it inherited, makes threads, and forks again;
 * the parent's memory stays its own. */
#include "program.h"
#include <pthread.h>

static void *churn(void *argument) {
    for (int i = 0; i < 2000; i++) free(malloc((size_t)(i * 37 % 5000)));
    return argument;
}

static void child_works(char **blocks) {
    pthread_t threads[3];
    for (int i = 0; i < 1000; i++) {
        CHECK(blocks[i][0] == (char)i);
        if (i % 2) blocks[i] = realloc(blocks[i], 3000);
        else free(blocks[i]), blocks[i] = malloc(10);
        blocks[i][0] = 0;
    }
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    IN_CHILD(churn(NULL));
}

int main(void) {
    char *blocks[1000];
    pthread_t thread;
    for (int i = 0; i < 1000; i++) blocks[i] = memset(malloc((size_t)i * 50 + 1), i, (size_t)i * 50 + 1);
    CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    for (int i = 0; i < 20; i++) IN_CHILD(child_works(blocks));
    pthread_join(thread, NULL);
    for (int i = 0; i < 1000; i++) {
        for (int j = 0; j <= i * 50; j++) CHECK(blocks[i][j] == (char)i);
        free(blocks[i]);
    }
    return 0;
}
