/* event.c: events: recording, asking, waiting, time. */
#include "conform.h"

static CUstream stream(void) { CUstream s; OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); return s; }
static CUevent event(unsigned flags) { CUevent e; OK(cuEventCreate(&e, flags)); return e; }
static CUdeviceptr alloc(size_t n) { CUdeviceptr p; OK(cuMemAlloc(&p, n)); return p; }

BEHAVIOUR(unrecorded_event_is_complete, EVENT) { begin(); OK(cuEventQuery(event(0))); OK(cuEventSynchronize(event(0))); }
BEHAVIOUR(event_follows_its_stream, EVENT) { struct gate g; begin(); CUstream s = stream(); CUevent e = event(0); gate_close(&g, s); OK(cuEventRecord(e, s)); WANT(cuEventQuery(e), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuEventSynchronize(e)); OK(cuEventQuery(e)); }
BEHAVIOUR(event_does_not_cover_later_work, EVENT) { struct gate g; begin(); CUstream s = stream(); CUevent e = event(0); OK(cuEventRecord(e, s)); gate_close(&g, s); OK(cuEventSynchronize(e)); WANT(cuStreamQuery(s), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuCtxSynchronize()); }
BEHAVIOUR(recording_again_replaces, EVENT) { struct gate g; begin(); CUstream s = stream(); CUevent e = event(0); OK(cuEventRecord(e, s)); gate_close(&g, s); OK(cuEventRecord(e, s)); WANT(cuEventQuery(e), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuEventSynchronize(e)); }
BEHAVIOUR(wait_event_orders_streams, STREAM) {
    begin();
    CUstream a = stream(), b = stream();
    CUevent e = event(CU_EVENT_DISABLE_TIMING);
    CUdeviceptr p = alloc(64);
    launch_spin(30000000, a);
    launch_fill(p, 1, 4, a);
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    launch_fill(p, 2, 4, b);
    OK(cuCtxSynchronize());
    CHECK(read_word(p) == 2);
}
BEHAVIOUR(wait_event_sees_the_recording_of_its_time, STREAM) {
    struct gate g;
    begin();
    CUstream a = stream(), b = stream();
    CUevent e = event(0);
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    gate_close(&g, a);
    OK(cuEventRecord(e, a));             /* later: does not concern b */
    OK(cuStreamSynchronize(b));
    gate_open(&g);
    OK(cuCtxSynchronize());
}
BEHAVIOUR(wait_for_unrecorded_event_is_nothing, STREAM) { begin(); CUstream s = stream(); OK(cuStreamWaitEvent(s, event(0), 0)); OK(cuStreamSynchronize(s)); }
BEHAVIOUR(elapsed_time_measures, EVENT) { float ms = -1; begin(); CUstream s = stream(); CUevent a = event(0), b = event(0); OK(cuEventRecord(a, s)); launch_spin(20000000, s); OK(cuEventRecord(b, s)); OK(cuEventSynchronize(b)); OK(cuEventElapsedTime(&ms, a, b)); CHECK(ms >= 19 && ms < 5000); }
BEHAVIOUR(elapsed_time_without_timing_is_invalid, EVENT) { float ms; begin(); CUstream s = stream(); CUevent a = event(0), b = event(CU_EVENT_DISABLE_TIMING); OK(cuEventRecord(a, s)); OK(cuEventRecord(b, s)); OK(cuStreamSynchronize(s)); WANT(cuEventElapsedTime(&ms, a, b), CUDA_ERROR_INVALID_HANDLE); }
BEHAVIOUR(elapsed_time_of_unrecorded_is_invalid, EVENT) { float ms; begin(); WANT(cuEventElapsedTime(&ms, event(0), event(0)), CUDA_ERROR_INVALID_HANDLE); }
BEHAVIOUR(elapsed_time_of_pending_is_not_ready, EVENT) { float ms; struct gate g; begin(); CUstream s = stream(); CUevent a = event(0), b = event(0); OK(cuEventRecord(a, s)); gate_close(&g, s); OK(cuEventRecord(b, s)); WANT(cuEventElapsedTime(&ms, a, b), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuCtxSynchronize()); }
BEHAVIOUR(unknown_event_flags_are_invalid, EVENT) { CUevent e; begin(); WANT(cuEventCreate(&e, 0x100), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(interprocess_events_disable_timing, EVENT) { CUevent e; begin(); WANT(cuEventCreate(&e, CU_EVENT_INTERPROCESS), CUDA_ERROR_INVALID_VALUE); OK(cuEventCreate(&e, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING)); }
BEHAVIOUR(pending_event_may_be_destroyed, EVENT) { struct gate g; begin(); CUstream s = stream(); CUevent e = event(0); gate_close(&g, s); OK(cuEventRecord(e, s)); OK(cuEventDestroy(e)); gate_open(&g); OK(cuStreamSynchronize(s)); }
BEHAVIOUR(event_of_another_context_is_refused, EVENT) { CUcontext c; begin(); CUevent e = event(0); OK(cuCtxCreate(&c, NULL, 0, 0)); WANT(cuEventRecord(e, stream()), CUDA_ERROR_INVALID_HANDLE); }
BEHAVIOUR(an_event_may_order_across_contexts, STREAM) { CUcontext c; struct gate g; begin(); CUstream a = stream(); CUevent e = event(0); gate_close(&g, a); OK(cuEventRecord(e, a)); OK(cuCtxCreate(&c, NULL, 0, 0)); CUstream b = stream(); OK(cuStreamWaitEvent(b, e, 0)); WANT(cuStreamQuery(b), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuStreamSynchronize(b)); }

/* ---- one event for a whole context (12.5) */
static void need_context_events(void) { void *f = NULL; if (cuGetProcAddress("cuCtxRecordEvent", &f, 12050, 0, NULL) != CUDA_SUCCESS || !f) conform_skip("driver before 12.5"); }
BEHAVIOUR(context_event_covers_all_streams, CONTEXT) {
    struct gate g, h;
    CUcontext c = begin();
    need_context_events();
    CUstream a = stream(), b = stream();
    CUevent e = event(CU_EVENT_DISABLE_TIMING);
    gate_close(&g, a);
    gate_close(&h, b);
    OK(cuCtxRecordEvent(c, e));
    WANT(cuEventQuery(e), CUDA_ERROR_NOT_READY);
    gate_open(&g);
    OK(cuStreamSynchronize(a));
    WANT(cuEventQuery(e), CUDA_ERROR_NOT_READY);
    gate_open(&h);
    OK(cuEventSynchronize(e));
}
BEHAVIOUR(context_event_does_not_cover_later_work, CONTEXT) { struct gate g; CUcontext c = begin(); need_context_events(); CUstream a = stream(); CUevent e = event(CU_EVENT_DISABLE_TIMING); OK(cuCtxRecordEvent(c, e)); gate_close(&g, a); OK(cuEventSynchronize(e)); gate_open(&g); OK(cuCtxSynchronize()); }
BEHAVIOUR(context_waits_for_an_event, CONTEXT) {
    struct gate g;
    CUcontext c = begin();
    need_context_events();
    CUstream a = stream(), b = stream();
    CUevent e = event(CU_EVENT_DISABLE_TIMING);
    gate_close(&g, a);
    OK(cuEventRecord(e, a));
    OK(cuCtxWaitEvent(c, e));
    launch_spin(1000, b);
    WANT(cuStreamQuery(b), CUDA_ERROR_NOT_READY);
    gate_open(&g);
    OK(cuStreamSynchronize(b));
}
