/* A pointer freed twice, an interior pointer and an unknown one are errors as without us, and nothing is lost by them. */
#include "cuda_test.h"
int main(void) {
    start();
    CUdeviceptr a = take(4096), b;
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(a + 512));
    give(a);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(a));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(12345));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemAlloc_v2(&b, 0));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemAlloc_v2(NULL, 16));
    OK(p_cuMemFree_v2(0));
    CUdeviceptr c = take(4096), d = take(4096);
    CHECK(c == a && d != a, "a block was cached twice");
    give(c), give(d);
    CUdeviceptr base;
    EXPECT(CUDA_ERROR_NOT_FOUND, p_cuMemGetAddressRange_v2(&base, NULL, c));
    return 0;
}
