// env: COPPICE_POISON=1
/* POISON=1: what is freed reads as 0xff at once, to its last byte, also for whoever uses it after the free; work that was
 * submitted before the free is finished first; a block handed out again holds the pattern until it is written. */
#include "cuda_test.h"
int main(void) {
    start();
    CUstream stream;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (size_t size = 1; size < 3 << 20; size = size * 5 + 1) {
        CUdeviceptr a = take(size), copy = take(size);
        fill(a, 0x11, size, stream);
        OK(p_cuMemcpyDtoDAsync_v2(copy, a, size, stream));
        give(a);
        expect_bytes(a, 0xff, size, stream, "a freed block");
        expect_bytes(copy, 0x11, size, stream, "a copy made before the free");
        CUdeviceptr b = take(size);
        CHECK(b == a);
        expect_bytes(b, 0xff, size, stream, "a reused block");
        give(b), give(copy);
    }
    CUdeviceptr p;
    size_t pitch;
    for (int i = 0; i < 2; i++) {
        OK(p_cuMemAllocPitch_v2(&p, &pitch, 1000, 100, 4));
        if (i == 1) expect_bytes(p, 0xff, pitch * 100, stream, "reused pitched memory");
        fill(p, 0x11, pitch * 100, stream);
        give(p);
    }
    return 0;
}
