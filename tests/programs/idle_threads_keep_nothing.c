// env: COPPICE_CLEANUP_INTERVAL=0
/* Threads that have freed large blocks and then do nothing rest on none of them, though the process goes on allocating; and
 * blocks that are taken away from threads while these take and give them come to no harm. */
#include "memory.h"
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>

enum { THREADS = 24, LARGE = 1 << 20, BUSY = 3 };
static _Atomic int freed, ending;

static void *use_and_wait(void *argument) {
    void *a = malloc(LARGE), *b = malloc(LARGE);
    CHECK(a && b);
    memset(a, 1, LARGE), memset(b, 1, LARGE);
    free(a), free(b);
    freed++;
    while (!ending) usleep(50000);
    return NULL;
}

/* Each byte of a block is its owner's from malloc to free. */
static void *take_and_give(void *argument) {
    uint64_t mark = (uint64_t)(uintptr_t)argument;
    while (!ending) {
        uint64_t *p = malloc(LARGE - 4096);
        CHECK(p);
        p[0] = p[LARGE / 16] = mark;
        for (int i = 0; i < 3; i++) free(malloc(100 << 10));
        if (mark % 2) usleep(1500);
        CHECK(p[0] == mark && p[LARGE / 16] == mark);
        free(p);
    }
    return NULL;
}

static void *trim(void *argument) {
    while (!ending) malloc_trim(0), usleep(1000);
    return NULL;
}

static void run(void *(*work)(void *), int threads, pthread_t *thread) {
    for (intptr_t i = 0; i < threads; i++) CHECK(pthread_create(&thread[i], NULL, work, (void *)(i + 1)) == 0);
}

int main(void) {
    pthread_t thread[THREADS], busy[BUSY], trimmer;
    char *held = malloc(80 << 20); /* so that the process is large enough to be looked after */
    CHECK(held);
    memset(held, 1, 80 << 20);
    long before = mapped_kib("Anonymous") >> 10;
    run(use_and_wait, THREADS, thread);
    while (freed < THREADS) usleep(1000);
    long kept = (mapped_kib("Anonymous") >> 10) - before, after = kept;
    for (int i = 0; i < 100 && after > 8; i++) {
        for (int j = 0; j < 2000; j++) free(malloc(200)); /* never quiet */
        usleep(100000);
        after = (mapped_kib("Anonymous") >> 10) - before;
    }
    printf("%ld MiB more after the burst, %ld later\n", kept, after);
    CHECK(kept > 24 && after <= 8);
    run(take_and_give, BUSY, busy), run(trim, 1, &trimmer);
    usleep(2500000);
    ending = 1;
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    for (int i = 0; i < BUSY; i++) CHECK(pthread_join(busy[i], NULL) == 0);
    CHECK(pthread_join(trimmer, NULL) == 0);
    free(held);
    return 0;
}
