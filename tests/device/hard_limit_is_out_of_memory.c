// env: COPPICE_DTESN_LIMIT=256M
// env: COPPICE_DTESN_HARD=1
/* A hard limit on device memory: what is cached counts and goes back first; beyond it cudaMalloc is out of memory, though
 * the device has room; what was freed may be had again. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUdeviceptr p[64], q;
    int n = 0;
    while (n < 64 && p_cuMemAlloc_v2(&p[n], 16 << 20) == CUDA_SUCCESS) n++;
    CHECK(n == 15, "%d blocks", n); /* every level keeps a little: not quite 16 */
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&q, 16 << 20));
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&q, 1ull << 30));
    CHECK(truth().live == 15u << 24);
    for (int i = 0; i < n; i++) give(p[i]);
    CHECK(stat_number("cached_bytes") == 15 << 24);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&q, 1ull << 30));
    CHECK(stat_number("cached_bytes") == 15 << 24, "a hopeless request emptied the cache");
    OK(p_cuMemAlloc_v2(&q, 200 << 20)); /* the cache makes room */
    CHECK(truth().live <= 256u << 20);
    give(q);
    for (int i = 0; i < n; i++) p[i] = take(16 << 20);
    CHECK(truth().live <= 256u << 20);
    return 0;
}
