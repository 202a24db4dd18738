/* The fence covers what has no handle of its own: the legacy stream, the default stream of a thread that has ended, a
 * blocking stream with a priority. In each the work stands still until the gate opens; the next owner's bytes must
 * survive it. */
#include "cuda_test.h"
enum { SIZE = 64 << 10 };
static struct gate gate;
static CUdeviceptr block;
static void *submit(void *stream) {
    OK(p_cuCtxSetCurrent(test_context));
    block_stream(stream, &gate);
    fill(block, 0x11, SIZE, stream);
    return NULL;
}
int main(void) {
    start();
    CUstream mine, blocking;
    OK(p_cuStreamCreate(&mine, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamCreateWithPriority(&blocking, CU_STREAM_DEFAULT, -1));
    CUstream busy[] = { CU_STREAM_LEGACY, NULL, CU_STREAM_PER_THREAD, blocking };
    for (unsigned i = 0; i < sizeof busy / sizeof *busy; i++) {
        pthread_t thread;
        atomic_store(&gate.open, false);
        block = take(SIZE);
        pthread_create(&thread, NULL, submit, busy[i]);
        pthread_join(thread, NULL);
        give(block);
        CUdeviceptr next = take(SIZE);
        CHECK(next != block, "handed out while stream %u works on it", i);
        fill(next, 0x22, SIZE, mine);
        OK(p_cuStreamSynchronize(mine));
        atomic_store(&gate.open, true);
        OK(p_cuCtxSynchronize());
        expect_bytes(next, 0x22, SIZE, mine, "the next owner's block");
        give(next);
    }
    return 0;
}
