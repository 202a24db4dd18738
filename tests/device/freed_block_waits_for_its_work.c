/* Promise 3: a freed block is handed out again only after all work submitted before its free has finished.
 * A stream that stands still will write into the block; the next owner's bytes must survive it. */
#include "cuda_test.h"
int main(void) {
    start();
    enum { SIZE = 1 << 20 };
    CUstream slow, fast;
    struct gate gate = { false };
    OK(p_cuStreamCreate(&slow, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamCreate(&fast, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a = take(SIZE);
    block_stream(slow, &gate);
    fill(a, 0xaa, SIZE, slow);
    give(a);
    CUdeviceptr b = take(SIZE);
    CHECK(b != a, "handed out while work on it is pending");
    fill(b, 0xbb, SIZE, fast);
    OK(p_cuStreamSynchronize(fast));
    atomic_store(&gate.open, true);
    OK(p_cuStreamSynchronize(slow));
    expect_bytes(b, 0xbb, SIZE, fast, "the new owner's block");
    give(b);
    /* and once it has passed, the old one is good again */
    CUdeviceptr c = take(SIZE), d = take(SIZE);
    CHECK((c == a && d == b) || (c == b && d == a), "memory whose work is done was not reused");
    return 0;
}
