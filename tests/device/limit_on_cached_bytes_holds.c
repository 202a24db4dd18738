// env: COPPICE_POOL_MAX=64M
/* POOL_MAX: cached bytes never exceed it; a block larger than it goes straight back; the oldest leave first. */
#include "cuda_test.h"
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
    return 0;
}
