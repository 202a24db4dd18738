/* A primary context that others still hold outlives a release, also while work is pending in it: what was freed before is
 * behind its fence as before. The same after a destroy that failed. */
#include "cuda_test.h"
int main(void) {
    start();
    enum { SIZE = 1 << 20 };
    CUcontext same;
    CUdevice device;
    CUstream slow, mine;
    struct gate gate = { false };
    OK(p_cuDeviceGet(&device, 0));
    OK(p_cuDevicePrimaryCtxRetain(&same, device));
    OK(p_cuStreamCreate(&slow, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamCreate(&mine, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a = take(SIZE), b = take(SIZE);
    block_stream(slow, &gate);
    fill(a, 1, SIZE, slow), fill(b, 1, SIZE, slow);
    give(a);
    CUdeviceptr c = take(SIZE); /* closes the epoch of a; b's is open */
    CHECK(c != a && c != b);
    give(b);
    OK(p_cuDevicePrimaryCtxRelease_v2(device));
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, p_cuCtxDestroy_v2(test_context));
    CUdeviceptr d = take(SIZE), e = take(SIZE);
    CHECK(d != a && d != b && e != a && e != b, "handed out while work on it is pending");
    atomic_store(&gate.open, true);
    OK(p_cuStreamSynchronize(slow));
    CUdeviceptr f = take(SIZE), g = take(SIZE);
    CHECK((f == a && g == b) || (f == b && g == a), "its work is done, and it was not reused");
    return 0;
}
