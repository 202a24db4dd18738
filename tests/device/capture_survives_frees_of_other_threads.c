/* One thread captures again and again while others take and free memory with work in between: with a thread-local
 * capture, which other threads' allocations do not touch, no capture may ever be invalidated (by an event of ours, say),
 * and no allocation may fail. */
#include "cuda_test.h"
static _Atomic bool done;
static void *churn(void *unused) {
    CUstream mine;
    OK(p_cuCtxSetCurrent(test_context));
    OK(p_cuStreamCreate(&mine, CU_STREAM_NON_BLOCKING));
    while (!atomic_load(&done)) {
        CUdeviceptr p = take(64 << 10);
        fill(p, 3, 64 << 10, mine);
        give(p);
    }
    OK(p_cuStreamSynchronize(mine));
    return unused;
}
int main(void) {
    start();
    CUstream stream;
    pthread_t thread[3];
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a = take(4096);
    for (int i = 0; i < 3; i++) pthread_create(&thread[i], NULL, churn, NULL);
    for (int i = 0; i < 400; i++) {
        CUgraph graph = NULL;
        OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        fill(a, 5, 4096, stream);
        usleep(100);
        OK(p_cuStreamEndCapture(stream, &graph));
        CHECK(graph);
        OK(p_cuGraphDestroy(graph));
    }
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    return 0;
}
