// env: COPPICE_PRESSURE=1
// env: SIM_CAPACITY=1G
// env: COPPICE_POOL_MAX=1G
// env: COPPICE_DEVICE_RESERVE=256M
/* DEVICE_RESERVE: what would leave less free is out of memory, on every path whose size is known; the cache is given back
 * before that is said; cudaMemGetInfo shows so much less, and its total stays the device's own. */
#include "cuda_test.h"
enum { MB = 1 << 20 };
static size_t available(void) {
    size_t left, all;
    OK(p_cuMemGetInfo_v2(&left, &all));
    CHECK(all == (size_t)1024 * MB, "the total is %zu", all);
    return left;
}
int main(void) {
    start();
    need_simulator();
    size_t at_first = available(), pitch;
    CHECK(at_first <= 768u * MB && at_first > 700u * MB, "%zu bytes are free", at_first);
    CUdeviceptr p, cached = take(200 * MB);
    give(cached);
    CHECK(available() == at_first);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p, 900 * MB));
    CHECK(truth().live == 200u * MB, "a request beyond the limit emptied the cache");
    CUdeviceptr big = take(600 * MB); /* needs what is cached */
    CHECK(truth().live == 600u * MB && stat_number("cached_bytes") == 0);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p, 200 * MB));
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAllocPitch_v2(&p, &pitch, 1 * MB, 200, 4));
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAllocAsync(&p, 200 * MB, NULL));
    CUmemGenericAllocationHandle handle;
    CUmemAllocationProp where = { .type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemCreate(&handle, 200 * MB, &where, 0));
    OK(p_cuMemCreate(&handle, 100 * MB, &where, 0));
    OK(p_cuMemRelease(handle));
    give(take(100 * MB));
    give(big);
    CHECK(available() == at_first && stat_number("live_bytes") == 0);
    return 0;
}
