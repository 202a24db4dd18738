/* After an error that lasts (a kernel touched an illegal address) whoever hears of it, a wait or a launch, ends caching in
 * that context: allocations and frees are the driver's to answer. Another context goes on. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUcontext other;
    CUdevice device;
    OK(p_cuDeviceGet(&device, 0));
    CUdeviceptr a = take(1 << 20), b = take(2 << 20);
    give(a);
    p_simctl_fault("cuStreamSynchronize", 1, CUDA_ERROR_INVALID_VALUE);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuStreamSynchronize(NULL)); /* a mistake of the program's breaks nothing */
    CHECK(take(1 << 20) == a);
    give(a);
    p_simctl_clear_faults();
    p_simctl_fault("cuStreamSynchronize", 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, p_cuStreamSynchronize(NULL));
    long allocs = driver_calls("cuMemAlloc_v2"), frees = driver_calls("cuMemFree_v2");
    give(b);
    CHECK(take(1 << 20) != a, "a broken context's cache was used");
    CHECK(driver_calls("cuMemAlloc_v2") == allocs + 1 && driver_calls("cuMemFree_v2") == frees + 1);
    OK(p_cuCtxCreate_v2(&other, 0, device));
    CUdeviceptr c = take(1 << 20);
    give(c);
    CHECK(take(1 << 20) == c, "another context caches no more");
    p_simctl_clear_faults();
    p_simctl_fault("cuMemsetD8Async", 1, CUDA_ERROR_LAUNCH_FAILED);
    EXPECT(CUDA_ERROR_LAUNCH_FAILED, p_cuMemsetD8Async(c, 0, 16, NULL));
    give(c);
    CHECK(driver_calls("cuMemFree_v2") == frees + 2);
    return 0;
}
