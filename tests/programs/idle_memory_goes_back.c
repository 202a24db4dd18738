/* A process that had much memory and then does nothing, not even call malloc, gives it back within some seconds; one thread
 * alone gets no second thread for that, and neither does a fork's child. */
#include "memory.h"
#include <dirent.h>
#include <pthread.h>

static int threads(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

enum { BLOCKS = 40000, SIZE = 4000 };
static void *block[BLOCKS];
static void burst(void) {
    for (int i = 0; i < BLOCKS; i++) CHECK((block[i] = malloc(SIZE)) && memset(block[i], 1, SIZE));
    for (int i = 0; i < BLOCKS; i++) free(block[i]);
}
/* waits without a single call that could allocate */
static void *wait_for_it(void *seconds) {
    for (int i = 0; i < *(int *)seconds; i++) sleep(1);
    return NULL;
}

static void child(void) {
    int none = 0;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_for_it, &none) == 0);
    burst(), burst();
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(threads() == 1);
}

int main(void) {
    burst();
    CHECK(threads() == 1);
    long before = taken().resident >> 20;
    CHECK(before > 50);
    pthread_t thread;
    int seconds = 15;
    CHECK(pthread_create(&thread, NULL, wait_for_it, &seconds) == 0);
    burst();
    CHECK(threads() == 3); /* now the process has threads of its own: ours is the third */
    IN_CHILD(child());
    CHECK(pthread_join(thread, NULL) == 0);
    long after = taken().resident >> 20;
    printf("%ld MiB before, %ld after\n", before, after);
    CHECK(after < 25);
    return 0;
}
