// env: COPPICE_ZERO=1
/* ZERO=1: a reused block reads as zero in every stream, also to its last byte, and on both layers. */
#include "cuda_test.h"
int main(void) {
    start();
    CUstream stream;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (size_t size = 1; size < 3 << 20; size = size * 5 + 1) {
        CUdeviceptr a = take(size);
        fill(a, 0xff, size, stream);
        OK(p_cuStreamSynchronize(stream));
        give(a);
        CUdeviceptr b = take(size);
        CHECK(b == a);
        expect_bytes(b, 0, size, stream, "a reused block");
        give(b);
    }
    return 0;
}
