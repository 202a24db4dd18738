/* The fence covers every stream of the context: work in a stream that did not exist at the allocation, submitted by
 * another thread, before the free. */
#include "cuda_test.h"
enum { SIZE = 64 << 10, STREAMS = 6 };
static CUdeviceptr block;
static struct gate gate;
static void *submit(void *stream) {
    OK(p_cuCtxSetCurrent(test_context));
    block_stream(stream, &gate);
    fill(block, 0x11, SIZE, stream);
    return NULL;
}
int main(void) {
    start();
    CUstream stream[STREAMS], mine;
    OK(p_cuStreamCreate(&mine, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < STREAMS; i++) {
        atomic_store(&gate.open, false);
        block = take(SIZE);
        OK(p_cuStreamCreate(&stream[i], CU_STREAM_NON_BLOCKING));
        pthread_t other;
        pthread_create(&other, NULL, submit, stream[i]);
        pthread_join(other, NULL);
        give(block);
        CUdeviceptr next = take(SIZE);
        fill(next, 0x22, SIZE, mine);
        OK(p_cuStreamSynchronize(mine));
        atomic_store(&gate.open, true);
        OK(p_cuStreamSynchronize(stream[i]));
        expect_bytes(next, 0x22, SIZE, mine, "the next owner's block");
        give(next);
    }
    return 0;
}
