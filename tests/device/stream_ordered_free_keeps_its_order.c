/* cuMemFreeAsync of memory from cuMemAlloc: the call returns at once, the memory is the stream's until its turn comes, and the
 * pool never hands it out; where the driver refuses, it stays the program's. */
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
    CUresult answer = p_cuMemFreeAsync(a, slow);
    CUdeviceptr b = take(SIZE);
    CHECK(b != a, "handed out before the stream was done with it");
    fill(b, 2, SIZE, mine);
    OK(p_cuStreamSynchronize(mine));
    atomic_store(&gate.open, true);
    OK(p_cuStreamSynchronize(slow));
    expect_bytes(b, 2, SIZE, mine, "the next owner's block");
    if (answer != CUDA_SUCCESS) expect_bytes(a, 1, SIZE, mine, "what the driver did not free");
    EXPECT(answer == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS, p_cuMemFree_v2(a));
    give(b);
    CHECK(stat_number("live_bytes") == 0);
    return 0;
}
