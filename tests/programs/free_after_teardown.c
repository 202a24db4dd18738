/* free_after_teardown: threads whose key destructors allocate and free, in any order with ours, and a thread that frees what
 * another one took; the numbers add up. */
#include "program.h"
#include <pthread.h>

static pthread_key_t keys[3];
static _Atomic int destructors;

static void destroy(void *block) {
    destructors++;
    free(block);
    void *p = malloc(200), *q = malloc(200000);
    CHECK(p && q);
    free(p), free(q);
}

/* Comes back in every round that there is: later than everybody's destructors. */
static void destroy_late(void *block) {
    static _Thread_local int rounds;
    if (++rounds < 4) pthread_setspecific(keys[2], malloc(64));
    free(block);
}

static void *run(void *argument) {
    for (int i = 0; i < 3; i++) pthread_setspecific(keys[i], malloc(100));
    for (int i = 0; i < 300; i++) free(malloc((size_t)i * 100));
    return malloc(77);
}

int main(void) {
    CHECK(pthread_key_create(&keys[0], destroy) == 0 && pthread_key_create(&keys[1], destroy) == 0);
    CHECK(pthread_key_create(&keys[2], destroy_late) == 0);
    for (int i = 0; i < 300; i++) {
        pthread_t threads[4];
        void *left;
        for (int j = 0; j < 4; j++) CHECK(pthread_create(&threads[j], NULL, run, NULL) == 0);
        for (int j = 0; j < 4; j++) pthread_join(threads[j], &left), free(left);
    }
    CHECK(destructors == 2400);
    return 0;
}
