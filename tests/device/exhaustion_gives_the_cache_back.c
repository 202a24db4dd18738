// env: SIM_CAPACITY=1G
// env: COPPICE_POOL_MAX=1G
/* Out of memory reaches the program only after everything cached was given back, whoever asks: the pool's own
 * allocation, one that is passed through, and a request that can never be met (which fails at once). */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUdeviceptr p[8], big;
    for (int i = 0; i < 8; i++) p[i] = take(100 << 20);
    for (int i = 0; i < 8; i++) give(p[i]);
    CHECK(truth().live == 800u << 20);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&big, (size_t)3 << 30));
    CHECK(truth().live == 800u << 20, "a request beyond the device emptied the cache");
    big = take(700 << 20);
    CHECK(truth().live == 700u << 20);
    CHECK(stat_number("oom_recoveries") == 1 && stat_number("cached_bytes") == 0);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p[0], 600 << 20));
    give(big);
    OK(p_cuMemAllocManaged(&big, 600 << 20, CU_MEM_ATTACH_GLOBAL));
    give(big);
    return 0;
}
