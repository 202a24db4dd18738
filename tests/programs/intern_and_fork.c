/* intern_and_fork: a child has its parent's contents as its own: what either adds, releases or evicts afterwards the other
 * does not see, and forking while other threads add leaves nothing locked. */
// env: COPPICE_INTERN_MAX_ENTRIES=64
#include "intern.h"
#include <pthread.h>
#include <stdatomic.h>

enum { KEPT = 16 };
static const char *kept[KEPT];
static _Atomic int stop;

static const char *content(int n, char *bytes) {
    memset(bytes, 'a' + n % 26, 64);
    memcpy(bytes, &n, sizeof n);
    return bytes;
}

static void kept_is_whole(void) {
    char bytes[64];
    for (int i = 0; i < KEPT; i++) CHECK(memcmp(kept[i], content(i, bytes), 64) == 0 && intern(bytes, 64, 1) == kept[i]), release(kept[i]);
}

/* More contents than the table holds, so that blocks are reused all the time. */
static void churn(int from, int count) {
    char bytes[64];
    for (int i = from; i < from + count; i++) {
        const char *p = intern(content(i, bytes), 64, 1);
        CHECK(p && memcmp(p, bytes, 64) == 0);
        release(p);
    }
}

static void *churn_on(void *argument) {
    for (int i = 1000; !stop; i += 100) churn(i, 100);
    return argument;
}

static void child_works(int round) {
    kept_is_whole();
    churn(100000 * (round + 1), 500);
    kept_is_whole();
    for (int i = 0; i < KEPT; i += 2) release(kept[i]); /* its own references: the parent's stay */
    churn(200000 * (round + 1), 500);
    IN_CHILD(churn(0, 300));
}

int main(void) {
    char bytes[64];
    pthread_t threads[2];
    find_intern();
    for (int i = 0; i < KEPT; i++) CHECK((kept[i] = intern(content(i, bytes), 64, 1)) != NULL);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, churn_on, NULL) == 0);
    for (int round = 0; round < 30; round++) {
        IN_CHILD(child_works(round));
        kept_is_whole();
    }
    pid_t child = fork(); /* both at work at the same time */
    CHECK(child >= 0);
    churn(500000, 3000), kept_is_whole();
    if (child == 0) _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    kept_is_whole();
    return 0;
}
