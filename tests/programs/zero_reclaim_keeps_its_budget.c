// env: COPPICE_ZERO_RECLAIM_CPU=2
/* The search for pages of zeros takes no more of a processor than it may, from its beginning on, and finds them all the same. */
#include "zeros.h"
#include <pthread.h>
#include <time.h>

enum { LARGE = 192 << 20, PERCENT = 2, LONGEST = 20 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *wait_long(void *argument) {
    sleep(2 * LONGEST);
    return NULL;
}

int main(void) {
    pthread_t thread;
    volatile char *cache = malloc(LARGE);
    CHECK(cache);
    for (size_t i = 0; i < LARGE; i += 64) cache[i] = 0;
    CHECK(pthread_create(&thread, NULL, wait_long, NULL) == 0); /* a server has threads */
    double began = seconds(), used, share;
    for (int i = 0; i < 200; i++) free(malloc(100 << 10)); /* so that the heap looks at its size */
    do {
        usleep(500000);
        used = statistic("zero_cpu_ns") / 1e9;
        share = used / (seconds() - began);
        /* a slice comes before the rest that pays for it */
        CHECK(used < 0.05 + PERCENT / 100.0 * (seconds() - began));
    } while (statistic("reclaimed_bytes") < 16 << 20 && seconds() - began < LONGEST);
    printf("%.1f %% of a processor, %.0f MiB dropped after %.1f s\n", share * 100, statistic("reclaimed_bytes") / (1 << 20), seconds() - began);
    CHECK(statistic("reclaimed_bytes") >= 16 << 20);
    return 0;
}
