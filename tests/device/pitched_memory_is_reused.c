/* cuMemAllocPitch: the same width comes back with the same pitch, from the cache; asynchronous frees of pool memory go to
 * the driver and leave the books right. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUdeviceptr a, b;
    size_t pitch, again;
    OK(p_cuMemAllocPitch_v2(&a, &pitch, 1000, 64, 4));
    CHECK(pitch >= 1000);
    give(a);
    OK(p_cuMemAllocPitch_v2(&b, &again, 1000, 64, 4));
    CHECK(b == a && again == pitch);
    give(b);
    a = take(4096);
    /* whether the driver takes such memory back in stream order or refuses, the books agree with it */
    if (p_cuMemFreeAsync(a, NULL) == CUDA_SUCCESS) EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(a));
    else give(a);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFreeAsync(a, NULL));
    CHECK(stat_number("live_bytes") == 0);
    return 0;
}
