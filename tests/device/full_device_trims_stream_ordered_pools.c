// env: SIM_CAPACITY=1G
// env: COPPICE_DEVICE_RESERVE=1M
/* The driver's stream-ordered pools keep what was freed when they are told to. A full device gets that back before the
 * program hears of it: from the default pool, from one that the program made, not from one that it destroyed. (The driver
 * may do so by itself; a reserve is a limit that it does not know of.) */
#include "cuda_test.h"
enum { MB = 1 << 20 };
static void leave_idle(CUmemoryPool pool, size_t size, CUstream stream) {
    cuuint64_t threshold = UINT64_MAX, held = 0;
    CUdeviceptr p;
    OK(p_cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
    OK(p_cuMemAllocFromPoolAsync(&p, size, pool, stream));
    OK(p_cuMemFreeAsync(p, stream));
    OK(p_cuStreamSynchronize(stream));
    OK(p_cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &held));
    CHECK(held >= size, "the pool holds %lu bytes", (unsigned long)held);
}
int main(void) {
    start();
    CUstream stream;
    CUmemoryPool standard, own, gone;
    CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(p_cuDeviceGetDefaultMemPool(&standard, 0));
    OK(p_cuMemPoolCreate(&own, &props));
    OK(p_cuMemPoolCreate(&gone, &props));
    OK(p_cuMemPoolDestroy(gone));
    leave_idle(standard, 300 * MB, stream);
    leave_idle(own, 300 * MB, stream);
    give(take(700 * MB));
    leave_idle(own, 500 * MB, stream);
    CUdeviceptr managed;
    OK(p_cuMemAllocManaged(&managed, 800 * MB, CU_MEM_ATTACH_GLOBAL)); /* passed through */
    give(managed);
    leave_idle(standard, 500 * MB, stream);
    bool simulated = p_simctl_present && p_simctl_present();
    long trims = simulated ? driver_calls("cuMemPoolTrimTo") : 0;
    CUmemGenericAllocationHandle handle;
    OK(p_cuMemCreate(&handle, 800 * MB, &(CUmemAllocationProp){ .type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE } }, 0));
    OK(p_cuMemRelease(handle));
    if (simulated) CHECK(driver_calls("cuMemPoolTrimTo") - trims == 2, "%ld pools were trimmed", driver_calls("cuMemPoolTrimTo") - trims);
    return 0;
}
