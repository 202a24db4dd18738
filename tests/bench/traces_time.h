/* traces_time.h: the library's clock in a benchmark that replays a trace: it stands at now_ns until the benchmark moves it. */
#ifndef COPPICE_BENCH_TRACES_TIME_H
#define COPPICE_BENCH_TRACES_TIME_H
#include <stdint.h>
#include <time.h>

#define SECOND 1000000000ull
static uint64_t now_ns = SECOND;

int clock_gettime(clockid_t clock, struct timespec *t) {
    (void)clock;
    *t = (struct timespec){ .tv_sec = (time_t)(now_ns / SECOND), .tv_nsec = (long)(now_ns % SECOND) };
    return 0;
}
static uint64_t real_ns(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC); /* does not go through clock_gettime above */
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}
#endif
