// env: COPPICE_TYPE_RULES=*:device=procedural
// backend: block (pages serve any size)
/* A procedural request wants its exact size; where sizes never come again, as those of a cache that grows by copying, the driver is not asked each time. */
#include "cuda_test.h"
enum { CACHES = 8, STEPS = 200 };
int main(void) {
    CUdeviceptr cache[CACHES];
    start();
    for (int i = 0; i < CACHES; i++) OK(p_cuMemAlloc_v2(&cache[i], 16 << 20));
    for (size_t step = 1; step <= STEPS; step++)
        for (int i = 0; i < CACHES; i++) {
            CUdeviceptr grown;
            OK(p_cuMemAlloc_v2(&grown, (16 << 20) + step * 65536));
            give(cache[i]);
            cache[i] = grown;
        }
    uint64_t calls = (uint64_t)stat_number("driver_allocs");
    CHECK(calls < CACHES * STEPS / 4, "%lu driver allocations for %d sizes", (unsigned long)calls, STEPS);
    for (int i = 0; i < CACHES; i++) give(cache[i]);
    return 0;
}
