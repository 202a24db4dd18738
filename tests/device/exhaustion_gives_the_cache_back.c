// backend: block; pages need no flush: pages_serve_any_request
// env: SIM_CAPACITY=1G
// env: COPPICE_POOL_MAX=1G
/* Out of memory reaches the program only after everything cached was given back, whoever asks: the pool's own
 * allocation, one that is passed through, and a request that can never be met (which fails at once). */
#include "cuda_test.h"
static CUdeviceptr managed(size_t size) {
    CUdeviceptr p = 0;
    OK(p_cuMemAllocManaged(&p, size, CU_MEM_ATTACH_GLOBAL));
    return p;
}
int main(void) {
    start();
    need_simulator();
    CUdeviceptr p[8], big;
    for (int i = 0; i < 8; i++) p[i] = take(100 << 20);
    for (int i = 0; i < 8; i++) give(p[i]);
    CHECK(truth().live == 800u << 20);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&big, (size_t)3 << 30));
    CHECK(truth().live == 800u << 20, "a request beyond the device emptied the cache");
    CUdeviceptr other = managed(400 << 20);
    CHECK(truth().live == 400u << 20 && stat_number("cached_bytes") == 0, "a call that is passed through found no room");
    give(take(500 << 20));
    CHECK(truth().live == 900u << 20);
    big = take(300 << 20);
    CHECK(truth().live == 700u << 20 && stat_number("oom_recoveries") == 2);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p[0], 600 << 20));
    give(big), give(other);
    CHECK(stat_number("live_bytes") == 0);
    return 0;
}
