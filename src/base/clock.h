/* clock.h: time. Nanoseconds of CLOCK_MONOTONIC (the vDSO answers: about 20 ns, no system call). */
#ifndef COPPICE_BASE_CLOCK_H
#define COPPICE_BASE_CLOCK_H
#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
/* The same clock as of its last tick (1-4 ms ago at most): a few ns. */
static inline uint64_t clock_coarse_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif
