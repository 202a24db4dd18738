/* During a capture every call behaves as without us: allocating and freeing are errors that invalidate a global capture,
 * legal in relaxed mode; a thread of ours or another's that only frees a cached-size block disturbs nothing; a block
 * freed by the program while it captures is not published. */
#include "cuda_test.h"
static CUstream stream;
static CUresult ended(void) {
    CUgraph graph = NULL;
    CUresult answer = p_cuStreamEndCapture(stream, &graph);
    if (graph) p_cuGraphDestroy(graph);
    return answer;
}
int main(void) {
    start();
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a = take(1 << 20), b = take(1 << 20), p = 0;
    give(b); /* something is cached: a hit would be possible */
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, p_cuMemAlloc_v2(&p, 1 << 20));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, ended());
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, p_cuMemFree_v2(a));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, ended());
    give(a); /* the failed free left it alive */
    a = take(1 << 20);
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    fill(a, 7, 1 << 20, stream);
    OK(p_cuMemAlloc_v2(&p, 1 << 20));
    give(p);
    OK(ended());
    /* a capture with many frees around it: no event may be recorded into it */
    for (int i = 0; i < 200; i++) {
        CUdeviceptr q = take(4096);
        fill(q, 1, 4096, NULL);
        give(q);
        if (i % 20 == 0) {
            OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
            fill(a, 7, 1 << 20, stream);
            OK(ended());
        }
    }
    give(a);
    return 0;
}
