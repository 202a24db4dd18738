/* capture.c: stream capture in its three modes, and what it forbids. */
#include "conform.h"
#include <pthread.h>

static CUstream stream(void) { CUstream s; OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); return s; }
static CUevent event(void) { CUevent e; OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING)); return e; }
static CUdeviceptr alloc(size_t n) { CUdeviceptr p; OK(cuMemAlloc(&p, n)); return p; }
static CUstream capturing(CUstreamCaptureMode mode) { kernels(); CUstream s = stream(); OK(cuStreamBeginCapture(s, mode)); return s; }
static CUstreamCaptureStatus status(CUstream s) { CUstreamCaptureStatus st; OK(cuStreamIsCapturing(s, &st)); return st; }
static void end_invalidated(CUstream s) { CUgraph g = (CUgraph)1; WANT(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED); CHECK(g == NULL); CHECK(status(s) == CU_STREAM_CAPTURE_STATUS_NONE); }
static size_t nodes(CUgraph g) { size_t n = 0; OK(cuGraphGetNodes(g, NULL, &n)); return n; }
static CUresult relaxed(CUresult (*f)(void *), void *arg) {
    CUstreamCaptureMode m = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuThreadExchangeStreamCaptureMode(&m));
    CUresult r = f(arg);
    OK(cuThreadExchangeStreamCaptureMode(&m));
    return r;
}
static CUresult try_alloc(void *p) { return cuMemAlloc(p, 4096); }
static CUresult try_query(void *e) { return cuEventQuery(*(CUevent *)e); }
struct call { CUresult (*f)(void *); void *arg; CUresult result; };
static void *in_thread(void *arg) {
    struct call *c = arg;
    CUcontext ctx;
    OK(cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cuCtxSetCurrent(ctx));
    c->result = c->f(c->arg);
    return NULL;
}
static CUresult from_another_thread(CUresult (*f)(void *), void *arg) {
    pthread_t t;
    struct call c = { f, arg, CUDA_ERROR_UNKNOWN };
    CHECK(pthread_create(&t, NULL, in_thread, &c) == 0);
    pthread_join(t, NULL);
    return c.result;
}

BEHAVIOUR(captured_work_does_not_run, STREAM) {
    CUgraph g;
    begin();
    CUdeviceptr p = alloc(64);
    OK(cuMemsetD32(p, 1, 4));
    OK(cuCtxSynchronize());
    CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    launch_fill(p, 2, 4, s);
    OK(cuStreamEndCapture(s, &g));
    CHECK(read_word(p) == 1);
}
BEHAVIOUR(captured_work_becomes_nodes, STREAM) { CUgraph g; begin(); CUdeviceptr p = alloc(64); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); launch_fill(p, 2, 4, s); OK(cuMemsetD32Async(p, 1, 4, s)); OK(cuStreamEndCapture(s, &g)); CHECK(nodes(g) == 2); }
BEHAVIOUR(status_is_active, STREAM) { begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); CHECK(status(s) == CU_STREAM_CAPTURE_STATUS_ACTIVE); }
BEHAVIOUR(capture_ids_differ, STREAM) {
    CUgraph g;
    CUstreamCaptureStatus st;
    cuuint64_t a = 0, b = 0;
    begin();
    CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(cuStreamGetCaptureInfo(s, &st, &a, NULL, NULL, NULL, NULL));
    OK(cuStreamEndCapture(s, &g));
    OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuStreamGetCaptureInfo(s, &st, &b, NULL, NULL, NULL, NULL));
    CHECK(st == CU_STREAM_CAPTURE_STATUS_ACTIVE && a != b);
}
BEHAVIOUR(capture_info_gives_graph_and_dependencies, STREAM) {
    CUstreamCaptureStatus st;
    CUgraph g = NULL;
    const CUgraphNode *d = NULL;
    size_t n = 9;
    begin();
    CUdeviceptr p = alloc(64);
    CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    launch_fill(p, 2, 4, s);
    OK(cuStreamGetCaptureInfo(s, &st, NULL, &g, &d, NULL, &n));
    CHECK(g && d && n == 1);
}
BEHAVIOUR(legacy_stream_cannot_be_captured, STREAM) { begin(); WANT(cuStreamBeginCapture(CU_STREAM_LEGACY, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); }
BEHAVIOUR(begin_twice_is_an_illegal_state, STREAM) { begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); FAILS(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL)); }
BEHAVIOUR(end_without_begin_is_an_illegal_state, STREAM) { CUgraph g; begin(); WANT(cuStreamEndCapture(stream(), &g), CUDA_ERROR_ILLEGAL_STATE); }
BEHAVIOUR(allocation_is_unsafe_in_global_mode, STREAM) { CUdeviceptr p; begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); WANT(cuMemAlloc(&p, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); CHECK(status(s) == CU_STREAM_CAPTURE_STATUS_INVALIDATED); end_invalidated(s); }
BEHAVIOUR(allocation_is_unsafe_in_thread_local_mode, STREAM) { CUdeviceptr p; begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); WANT(cuMemAlloc(&p, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); end_invalidated(s); }
BEHAVIOUR(allocation_is_allowed_in_relaxed_mode, STREAM) { CUgraph g; begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_RELAXED); alloc(64); OK(cuStreamEndCapture(s, &g)); }
BEHAVIOUR(exchange_allows_allocation, STREAM) { CUgraph g; CUdeviceptr p; begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); OK(relaxed(try_alloc, &p)); OK(cuStreamEndCapture(s, &g)); }
BEHAVIOUR(exchange_returns_the_old_mode, STREAM) { CUstreamCaptureMode m = CU_STREAM_CAPTURE_MODE_RELAXED; begin(); OK(cuThreadExchangeStreamCaptureMode(&m)); CHECK(m == CU_STREAM_CAPTURE_MODE_GLOBAL); OK(cuThreadExchangeStreamCaptureMode(&m)); CHECK(m == CU_STREAM_CAPTURE_MODE_RELAXED); }
BEHAVIOUR(global_mode_forbids_other_threads, STREAM) { CUdeviceptr p; begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); WANT(from_another_thread(try_alloc, &p), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); end_invalidated(s); }
BEHAVIOUR(thread_local_mode_leaves_other_threads_alone, STREAM) { CUgraph g; CUdeviceptr p; begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); OK(from_another_thread(try_alloc, &p)); OK(cuStreamEndCapture(s, &g)); }
BEHAVIOUR(event_query_invalidates_a_global_capture, STREAM) { begin(); CUevent e = event(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); FAILS(cuEventQuery(e)); end_invalidated(s); }
BEHAVIOUR(event_query_from_another_thread_invalidates_too, STREAM) { begin(); CUevent e = event(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); FAILS(from_another_thread(try_query, &e)); end_invalidated(s); }
BEHAVIOUR(event_query_is_allowed_when_relaxed, STREAM) { CUgraph g; begin(); CUevent e = event(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); OK(relaxed(try_query, &e)); OK(cuStreamEndCapture(s, &g)); }
BEHAVIOUR(captured_event_cannot_be_queried, EVENT) { begin(); CUevent e = event(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_RELAXED); OK(cuEventRecord(e, s)); WANT(cuEventQuery(e), CUDA_ERROR_CAPTURED_EVENT); }
BEHAVIOUR(captured_event_cannot_be_synchronized, EVENT) { begin(); CUevent e = event(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_RELAXED); OK(cuEventRecord(e, s)); WANT(cuEventSynchronize(e), CUDA_ERROR_CAPTURED_EVENT); }
BEHAVIOUR(capturing_stream_cannot_be_queried, STREAM) { begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_RELAXED); WANT(cuStreamQuery(s), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); end_invalidated(s); }
BEHAVIOUR(capturing_stream_cannot_be_synchronized, STREAM) { begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_RELAXED); WANT(cuStreamSynchronize(s), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); end_invalidated(s); }
BEHAVIOUR(context_event_invalidates_a_capture, CONTEXT) { CUcontext c = begin(); CUevent e = event(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); FAILS(cuCtxRecordEvent(c, e)); end_invalidated(s); }
BEHAVIOUR(legacy_use_during_capture_of_a_blocking_stream, STREAM) {
    CUstream s;
    begin();
    kernels();
    CUdeviceptr p = alloc(64);
    OK(cuStreamCreate(&s, CU_STREAM_DEFAULT));
    OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    WANT(cuMemsetD32Async(p, 1, 4, CU_STREAM_LEGACY), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    end_invalidated(s);
}
BEHAVIOUR(another_stream_joins_through_an_event, STREAM) {
    CUgraph g;
    begin();
    CUdeviceptr p = alloc(64);
    CUstream b = stream(), a = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUevent e = event(), f = event();
    launch_fill(p, 1, 4, a);
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    CHECK(status(b) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    launch_fill(p, 2, 4, b);
    OK(cuEventRecord(f, b));
    OK(cuStreamWaitEvent(a, f, 0));
    OK(cuStreamEndCapture(a, &g));
    CHECK(nodes(g) == 2 && status(b) == CU_STREAM_CAPTURE_STATUS_NONE);
}
BEHAVIOUR(unjoined_work_is_an_error, STREAM) {
    CUgraph g = (CUgraph)1;
    begin();
    CUdeviceptr p = alloc(64);
    CUstream b = stream(), a = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUevent e = event();
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    launch_fill(p, 2, 4, b);
    WANT(cuStreamEndCapture(a, &g), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    CHECK(g == NULL);
}
BEHAVIOUR(capture_ends_on_its_origin, STREAM) {
    CUgraph g;
    begin();
    CUstream b = stream(), a = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUevent e = event();
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    WANT(cuStreamEndCapture(b, &g), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
}
BEHAVIOUR(captures_do_not_merge, STREAM) {
    begin();
    CUstream a = capturing(CU_STREAM_CAPTURE_MODE_RELAXED), b = capturing(CU_STREAM_CAPTURE_MODE_RELAXED);
    CUevent e = event();
    OK(cuEventRecord(e, a));
    WANT(cuStreamWaitEvent(b, e, 0), CUDA_ERROR_STREAM_CAPTURE_MERGE);
}
BEHAVIOUR(waiting_for_uncaptured_work_breaks_isolation, STREAM) {
    struct gate gate;
    begin();
    CUevent e = event();
    CUstream b = stream();
    gate_close(&gate, b);
    OK(cuEventRecord(e, b));
    CUstream a = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    WANT(cuStreamWaitEvent(a, e, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    gate_open(&gate);
}
BEHAVIOUR(capture_into_a_given_graph, STREAM) {
    CUgraph g, same;
    begin();
    CUdeviceptr p = alloc(64);
    OK(cuGraphCreate(&g, 0));
    kernels();
    CUstream s = stream();
    OK(cuStreamBeginCaptureToGraph(s, g, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_GLOBAL));
    launch_fill(p, 1, 4, s);
    OK(cuStreamEndCapture(s, &same));
    CHECK(same == g && nodes(g) == 1);
}
BEHAVIOUR(wrong_thread_cannot_end, STREAM) {
    begin();
    CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    extern CUresult conform_end(void *);
    WANT(from_another_thread(conform_end, &s), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
}
CUresult conform_end(void *s) { CUgraph g; return cuStreamEndCapture(*(CUstream *)s, &g); }
BEHAVIOUR(asynchronous_allocation_becomes_graph_memory, POOLS) {
    CUgraph g;
    CUgraphExec x;
    CUdeviceptr p;
    begin();
    CUdeviceptr out = alloc(64);
    CUstream s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(cuMemAllocAsync(&p, 4096, s));
    launch_fill(p, 0x31, 1024, s);
    OK(cuMemcpyDtoDAsync(out, p, 4, s));
    OK(cuMemFreeAsync(p, s));
    OK(cuStreamEndCapture(s, &g));
    CHECK(nodes(g) == 4);
    OK(cuGraphInstantiate(&x, g, 0));
    OK(cuGraphLaunch(x, s));
    OK(cuStreamSynchronize(s));
    CHECK(read_word(out) == 0x31);
}
BEHAVIOUR(other_work_goes_on_during_a_capture, STREAM) { CUgraph g; begin(); CUdeviceptr p = alloc(64); CUstream b = stream(), s = capturing(CU_STREAM_CAPTURE_MODE_GLOBAL); launch_fill(p, 8, 4, b); OK(cuStreamSynchronize(b)); OK(cuStreamEndCapture(s, &g)); CHECK(read_word(p) == 8); }
BEHAVIOUR(context_of_a_capture_cannot_be_synchronized, GUIDE "#prohibited-and-unhandled-operations") { begin(); CUstream s = capturing(CU_STREAM_CAPTURE_MODE_RELAXED); FAILS(cuCtxSynchronize()); end_invalidated(s); }
BEHAVIOUR(context_event_of_another_context_is_no_conflict, CONTEXT) {
    CUgraph g;
    CUcontext c, p = begin();
    kernels();
    OK(cuCtxCreate(&c, NULL, 0, 0));
    CUevent e = event();
    OK(cuCtxPushCurrent(p));
    CUstream s = stream();
    OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuCtxRecordEvent(c, e));
    OK(cuStreamEndCapture(s, &g));
}
