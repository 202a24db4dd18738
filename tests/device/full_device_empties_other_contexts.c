// env: COPPICE_PRESSURE=1
// env: SIM_CAPACITY=1G
// env: SIM_DEVICES=2
// env: COPPICE_POOL_MAX=1G
/* What one context has cached makes room for another of the same device; the other device's cache stays where it is: it
 * could not help. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUcontext second, elsewhere;
    OK(p_cuCtxCreate_v2(&elsewhere, 0, 1));
    give(take(600 << 20));
    OK(p_cuCtxCreate_v2(&second, 0, 0));
    give(take(600 << 20));
    OK(p_cuCtxSetCurrent(test_context));
    CUdeviceptr p = take(700 << 20);
    CHECK(truth().live == 700u << 20);
    struct simctl_device other;
    CUdeviceptr more;
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&more, 700 << 20));
    CHECK(p_simctl_device(NULL, 0, 1, &other) && other.live == 600u << 20, "the other device has lost its cache");
    give(p);
    return 0;
}
