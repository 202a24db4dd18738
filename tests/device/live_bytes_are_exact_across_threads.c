/* Live bytes and their peak are exact to the byte whichever threads take and free, though a free tells other threads nothing: one
 * after the other, where they must be what was asked for; then four at once, where the peak lies between what was live for certain
 * (counted after each allocation, and no more before its free) and what may have been (counted before, and until after). */
#include "cuda_test.h"
enum { KIB = 1 << 10, MOST = 64, THREADS = 4, ROUNDS = 3000 };
struct blocks { int count; size_t size; CUdeviceptr at[16]; };
static _Atomic long certain, possible, most_certain, most_possible;

static void rises_to(_Atomic long *most, long n) {
    long old = atomic_load(most);
    while (old < n && !atomic_compare_exchange_weak(most, &old, n)) {}
}
static void *takes(void *all) {
    OK(p_cuCtxSetCurrent(test_context));
    struct blocks *b = all;
    for (int i = 0; i < b->count; i++) b->at[i] = take(b->size * KIB);
    return NULL;
}
static void *gives(void *all) {
    OK(p_cuCtxSetCurrent(test_context));
    struct blocks *b = all;
    for (int i = 0; i < b->count; i++) give(b->at[i]);
    return NULL;
}
/* In a new thread, which has a shard of its own. */
static void elsewhere(void *work(void *), struct blocks *all) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, all), pthread_join(thread, NULL);
}
static void expect(int live, int peak) {
    CHECK(stat_number("live_bytes") == (double)live * KIB, "%g KiB live where %d are", stat_number("live_bytes") / KIB, live);
    CHECK(stat_number("peak_live_bytes") == (double)peak * KIB, "a peak of %g KiB where it was %d", stat_number("peak_live_bytes") / KIB, peak);
}

static size_t size_of(const CUdeviceptr *held, const CUdeviceptr *p) { return (p - held) % 2 ? 64 * KIB : 96 * KIB; }
static void begin(CUdeviceptr *p, long size) {
    rises_to(&most_possible, atomic_fetch_add(&possible, size) + size);
    *p = take((size_t)size);
    rises_to(&most_certain, atomic_fetch_add(&certain, size) + size);
}
static void end(CUdeviceptr *p, long size) {
    atomic_fetch_sub(&certain, size);
    give(*p), *p = 0;
    atomic_fetch_sub(&possible, size);
}
static void *at_once(void *seed) {
    CUdeviceptr held[MOST] = { 0 };
    unsigned state = (unsigned)(uintptr_t)seed * 2654435761u | 1;
    OK(p_cuCtxSetCurrent(test_context));
    for (int i = 0; i < ROUNDS; i++) {
        state = state * 1664525 + 1013904223;
        CUdeviceptr *p = &held[(state >> 20) % MOST];
        *p ? end(p, (long)size_of(held, p)) : begin(p, (long)size_of(held, p));
    }
    for (int i = 0; i < MOST; i++)
        if (held[i]) end(&held[i], (long)size_of(held, &held[i]));
    return NULL;
}

int main(void) {
    struct blocks a = { .count = 10, .size = 64 }, b = { .count = 10, .size = 96 }, c = { .count = 12, .size = 32 }, one = { .count = 1, .size = 1 };
    pthread_t thread[THREADS];
    start();
    for (int i = 0; i < 2; i++) takes(&c), gives(&c), expect(0, 384); /* the second time nobody has to be asked whose they are */
    takes(&a), expect(640, 640);
    gives(&a), expect(0, 640);
    takes(&b), expect(960, 960);
    elsewhere(takes, &a), expect(1600, 1600); /* hits, and a new peak all the same; from what this thread's shard has */
    takes(&c), expect(1984, 1984);
    gives(&b), elsewhere(gives, &a), expect(384, 1984);
    elsewhere(takes, &b), takes(&a), expect(1984, 1984); /* what is spare to one shard is another's */
    elsewhere(takes, &one), expect(1985, 1985);
    gives(&one), elsewhere(gives, &a), elsewhere(gives, &b), gives(&c), expect(0, 1985);
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, at_once, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    double peak = stat_number("peak_live_bytes");
    CHECK(peak >= (double)most_certain && peak <= (double)most_possible, "a peak of %g, between %ld and %ld", peak, most_certain, most_possible);
    CHECK(stat_number("live_bytes") == 0);
    return 0;
}
