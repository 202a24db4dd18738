// env: SIM_CAPACITY=2G
// env: COPPICE_POOL_MAX=256M
/* Threads with streams of their own take blocks, fill them, free them without waiting and now and then look whether a
 * block that they hold still has its bytes. The simulated device runs its streams at random speeds (SIM_SEED): memory
 * that is handed out too early shows as a wrong byte within a second. At the end our peak of reserved bytes is the one
 * that the device saw, and reserved = live + rounding + cached. argv: seed seconds */
#include "cuda_test.h"
#include <time.h>
enum { THREADS = 4, HELD = 12, LARGEST = 1 << 20 };
static _Atomic long operations;
static unsigned long seed = 1;
static double limit = 1.5;
struct held { CUdeviceptr p; size_t size; unsigned char value; };
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + (double)t.tv_nsec * 1e-9; }
static unsigned long next(unsigned long *s) { *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17; return *s; }

static void *load(void *number) {
    unsigned long random = (seed + 1) * 0x9e3779b97f4a7c15ul + (unsigned long)number * 0x2545f4914f6cdd1dul + 1;
    struct held held[HELD] = { 0 };
    CUstream stream[2];
    unsigned char value = (unsigned char)((long)number * 60 + 1);
    OK(p_cuCtxSetCurrent(test_context));
    for (int i = 0; i < 2; i++) OK(p_cuStreamCreate(&stream[i], CU_STREAM_NON_BLOCKING));
    for (double end = now() + limit; now() < end; atomic_fetch_add(&operations, 1)) {
        struct held *h = &held[next(&random) % HELD];
        if (h->p && next(&random) % 8 == 0) {
            /* both streams have finished with it before it is read */
            for (int i = 0; i < 2; i++) OK(p_cuStreamSynchronize(stream[i]));
            expect_bytes(h->p, h->value, h->size, stream[0], "a held block");
        }
        if (h->p) give(h->p), h->p = 0;
        if (next(&random) % 4) {
            h->size = (next(&random) % (next(&random) % 3 ? 4096 : LARGEST)) + 1;
            h->value = ++value;
            h->p = take(h->size);
            fill(h->p, h->value, h->size, stream[next(&random) % 2]);
        }
    }
    for (int i = 0; i < 2; i++) OK(p_cuStreamSynchronize(stream[i]));
    for (int i = 0; i < HELD; i++)
        if (held[i].p) {
            expect_bytes(held[i].p, held[i].value, held[i].size, stream[0], "a block held to the end");
            give(held[i].p);
        }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1) seed = strtoul(argv[1], NULL, 10);
    if (argc > 2) limit = atof(argv[2]);
    if (!getenv("SIM_SEED")) setenv("SIM_SEED", argc > 1 ? argv[1] : "7", 1);
    start();
    pthread_t thread[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, load, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    OK(p_cuCtxSynchronize());
    if (p_simctl_present && p_simctl_present()) {
        struct simctl_device d = truth();
        CHECK((double)d.live == stat_number("reserved_bytes"), "device %lu, ours %.0f", (unsigned long)d.live, stat_number("reserved_bytes"));
        CHECK((double)d.peak_live == stat_number("peak_reserved_bytes"), "device's peak %lu, ours %.0f", (unsigned long)d.peak_live, stat_number("peak_reserved_bytes"));
        CHECK(p_simctl_wrong_calls(NULL, getpid(), NULL) == 0, "wrong calls reached the driver");
    }
    CHECK(stat_number("live_bytes") == 0 && stat_number("reserved_bytes") == stat_number("cached_bytes") + stat_number("rounding_bytes"));
    printf("%ld operations, hit rate %.3f\n", (long)operations, stat_number("hit_rate"));
    return 0;
}
