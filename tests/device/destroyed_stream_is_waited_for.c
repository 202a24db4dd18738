/* cuStreamDestroy with work pending returns at once; the work goes on and the block stays behind its fence. */
#include "cuda_test.h"
int main(void) {
    start();
    enum { SIZE = 1 << 20 };
    CUstream slow, mine;
    struct gate gate = { false };
    OK(p_cuStreamCreate(&slow, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamCreate(&mine, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a = take(SIZE);
    block_stream(slow, &gate);
    fill(a, 1, SIZE, slow);
    OK(p_cuStreamDestroy_v2(slow));
    give(a);
    CUdeviceptr b = take(SIZE);
    fill(b, 2, SIZE, mine);
    OK(p_cuStreamSynchronize(mine));
    atomic_store(&gate.open, true);
    OK(p_cuCtxSynchronize());
    expect_bytes(b, 2, SIZE, mine, "the next owner's block");
    return 0;
}
