// env: COPPICE_POOL_MAX=64M
/* POOL_MAX: cached bytes never exceed it where one thread frees, and by at most a sixteenth where many do; a block larger than it
 * goes straight back; the oldest leave first. */
#include "cuda_test.h"
enum { SMALL = 128 << 10, COUNT = 320 /* 40 MiB a thread */ };
static void *gives(void *all) {
    OK(p_cuCtxSetCurrent(test_context));
    for (int i = 0; i < COUNT; i++) give(((CUdeviceptr *)all)[i]);
    return NULL;
}
static void threads_keep_to_it(void) {
    static CUdeviceptr p[4][COUNT];
    pthread_t thread[4];
    for (int i = 0; i < 4 * COUNT; i++) p[i / COUNT][i % COUNT] = take(SMALL);
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, gives, p[i]);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    CHECK(stat_number("cached_bytes") <= 68 << 20, "%g bytes cached", stat_number("cached_bytes"));
}
int main(void) {
    start();
    need_simulator();
    CUdeviceptr p[10];
    for (int i = 0; i < 10; i++) p[i] = take(16 << 20);
    for (int i = 0; i < 10; i++) {
        give(p[i]);
        CHECK(stat_number("cached_bytes") <= 64 << 20);
    }
    CHECK(truth().live == 64 << 20, "%lu bytes stay", (unsigned long)truth().live);
    CUdeviceptr newest = take(16 << 20);
    CHECK(newest == p[9]);
    give(newest);
    CUdeviceptr large = take(100 << 20);
    give(large);
    CHECK(truth().live == 64 << 20);
    threads_keep_to_it();
    return 0;
}
