/* A destroyed context and a reset primary context take live and cached blocks with them: later requests are served anew,
 * old pointers are errors, the numbers go to zero. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUcontext own, popped;
    CUdevice device;
    OK(p_cuDeviceGet(&device, 0));
    OK(p_cuCtxCreate_v2(&own, 0, device));
    CUdeviceptr live = take(1 << 20), cached = take(2 << 20);
    give(cached);
    OK(p_cuCtxDestroy_v2(own));
    (void)popped;
    OK(p_cuCtxSetCurrent(test_context));
    CHECK(truth().live == 0);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(live));
    CUdeviceptr a = take(1 << 20), b = take(2 << 20);
    give(b);
    OK(p_cuDevicePrimaryCtxReset_v2(device));
    CHECK(truth().live == 0, "%lu bytes survived the reset", (unsigned long)truth().live);
    OK(p_cuDevicePrimaryCtxRetain(&test_context, device));
    OK(p_cuCtxSetCurrent(test_context));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(a));
    CUdeviceptr c = take(2 << 20);
    CHECK(truth().live == 2 << 20, "a block of the old context was handed out");
    give(c);
    return 0;
}
