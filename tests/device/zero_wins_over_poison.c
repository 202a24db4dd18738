// env: COPPICE_POISON=1
// env: COPPICE_ZERO=1
/* ZERO=1 and POISON=1 together: reused memory reads as zero, and nothing is filled at the free. */
#include "cuda_test.h"
int main(void) {
    start();
    CUstream stream;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a = take(5000);
    fill(a, 0x11, 5000, stream);
    OK(p_cuStreamSynchronize(stream));
    give(a);
    expect_bytes(a, 0x11, 5000, stream, "a freed block");
    CHECK(take(5000) == a);
    expect_bytes(a, 0, 5000, stream, "a reused block");
    CUdeviceptr p;
    size_t pitch;
    for (int i = 0; i < 2; i++) {
        OK(p_cuMemAllocPitch_v2(&p, &pitch, 1000, 100, 4));
        expect_bytes(p, 0, pitch * 100, stream, "pitched memory");
        fill(p, 0x11, pitch * 100, stream);
        OK(p_cuStreamSynchronize(stream));
        give(p);
    }
    return 0;
}
