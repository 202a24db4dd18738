/* cuda_context.c: the driver's hooks for contexts and streams: which context is current, what ends, what waits for all of a context,
 * and captures. They hold no policy: note, ask src/device, answer. */
#include "preload/cuda_hook.h"
#include "device/fence.h"

/* --- which context is current */
#define CONTEXT_HOOK(name, params, args, current) \
    EXPORT CUresult name params { \
        CUresult answer = REAL(name) args; \
        if (IN_FORCE() && answer == CUDA_SUCCESS) context_set_current(current); \
        return answer; \
    }
#define CREATE_HOOK(name, params, args) \
    EXPORT CUresult name params { \
        CUresult answer = REAL(name) args; \
        if (IN_FORCE() && answer == CUDA_SUCCESS) context_set_created(*made); \
        return answer; \
    }
CREATE_HOOK(cuCtxCreate_v2, (CUcontext *made, unsigned flags, CUdevice device), (made, flags, device))
CREATE_HOOK(cuCtxCreate_v3, (CUcontext *made, CUexecAffinityParam *options, int count, unsigned flags, CUdevice device), (made, options, count, flags, device))
CREATE_HOOK(cuCtxCreate_v4, (CUcontext *made, CUctxCreateParams *options, unsigned flags, CUdevice device), (made, options, flags, device))
CONTEXT_HOOK(cuCtxSetCurrent, (CUcontext context), (context), context)
CONTEXT_HOOK(cuCtxPushCurrent, (CUcontext context), (context), context)
CONTEXT_HOOK(cuCtxPushCurrent_v2, (CUcontext context), (context), context)
CONTEXT_HOOK(cuCtxPopCurrent, (CUcontext *popped), (popped), NULL)
CONTEXT_HOOK(cuCtxPopCurrent_v2, (CUcontext *popped), (popped), NULL)
CONTEXT_HOOK(cuCtxAttach, (CUcontext *context, unsigned flags), (context, flags), NULL)

EXPORT CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
    CUresult answer = REAL(cuCtxEnablePeerAccess)(peer, flags);
    if (IN_FORCE() && answer == CUDA_SUCCESS) device_peer_enabled(context_of(peer)); /* its work counts from now on */
    return answer;
}

/* --- contexts that end */
#define DESTROY_HOOK(name) \
    EXPORT CUresult name(CUcontext context) { \
        __typeof__(&name) real = REAL(name); \
        if (!IN_FORCE()) return real(context); \
        struct context *ours = context ? context_close(context) : NULL; \
        CUresult answer = real(context); \
        device_context_ended(ours, answer == CUDA_SUCCESS); \
        context_forget_current(); \
        return answer; \
    }
DESTROY_HOOK(cuCtxDestroy)
DESTROY_HOOK(cuCtxDestroy_v2)
DESTROY_HOOK(cuCtxDetach)

#define PRIMARY_HOOK(name) \
    EXPORT CUresult name(CUdevice device) { \
        __typeof__(&name) real = REAL(name); \
        if (!IN_FORCE()) return real(device); \
        device_primary_closing(device); \
        CUresult answer = real(device); \
        device_primary_ended(device, device_primary_has_ended(device, answer)); \
        context_forget_current(); \
        return answer; \
    }
/* a reset destroys the allocations even when others hold the context; a release only when it was the last */
#define device_primary_has_ended(device, answer) ((answer) == CUDA_SUCCESS)
PRIMARY_HOOK(cuDevicePrimaryCtxReset)
PRIMARY_HOOK(cuDevicePrimaryCtxReset_v2)
#undef device_primary_has_ended
#define device_primary_has_ended(device, answer) ((answer) == CUDA_SUCCESS && !device_primary_is_active(device))
PRIMARY_HOOK(cuDevicePrimaryCtxRelease)
PRIMARY_HOOK(cuDevicePrimaryCtxRelease_v2)
#undef device_primary_has_ended

/* --- streams that end: on drivers without an event for a whole context they leave one of their own behind */
#define DESTROY_STREAM_HOOK(name) \
    EXPORT CUresult name(CUstream stream) { \
        __typeof__(&name) real = REAL(name); \
        if (IN_FORCE()) fence_stream_ending(stream); \
        return real(stream); \
    }
DESTROY_STREAM_HOOK(cuStreamDestroy)
DESTROY_STREAM_HOOK(cuStreamDestroy_v2)

/* --- order: what waits for a whole context, and captures */
EXPORT CUresult cuCtxSynchronize(void) {
    __typeof__(&cuCtxSynchronize) real = REAL(cuCtxSynchronize);
    if (!IN_FORCE()) return real();
    uint64_t ticket = fence_before_synchronize();
    CUresult answer = real();
    fence_after_synchronize(ticket, answer == CUDA_SUCCESS);
    device_note_synchronize(answer);
    return answer;
}

EXPORT CUresult cuCtxSynchronize_v2(CUcontext context) {
    __typeof__(&cuCtxSynchronize_v2) real = REAL(cuCtxSynchronize_v2);
    if (!IN_FORCE()) return real(context);
    uint64_t ticket = fence_before_synchronize();
    CUresult answer = real(context);
    fence_after_synchronize(ticket, answer == CUDA_SUCCESS);
    device_note_synchronize(answer);
    return answer;
}

#define BEGIN_CAPTURE_HOOK(name, params, args) \
    EXPORT CUresult name params { \
        __typeof__(&name) real = REAL(name); \
        if (!IN_FORCE()) return real args; \
        capture_before_begin(); \
        CUresult answer = real args; \
        capture_after_begin(answer == CUDA_SUCCESS); \
        return answer; \
    }
BEGIN_CAPTURE_HOOK(cuStreamBeginCapture, (CUstream stream), (stream))
BEGIN_CAPTURE_HOOK(cuStreamBeginCapture_ptsz, (CUstream stream), (stream))
BEGIN_CAPTURE_HOOK(cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode), (stream, mode))
BEGIN_CAPTURE_HOOK(cuStreamBeginCapture_v2_ptsz, (CUstream stream, CUstreamCaptureMode mode), (stream, mode))
#define TO_GRAPH (CUstream stream, CUgraph graph, const CUgraphNode *nodes, const CUgraphEdgeData *edges, size_t count, CUstreamCaptureMode mode)
BEGIN_CAPTURE_HOOK(cuStreamBeginCaptureToGraph, TO_GRAPH, (stream, graph, nodes, edges, count, mode))
BEGIN_CAPTURE_HOOK(cuStreamBeginCaptureToGraph_ptsz, TO_GRAPH, (stream, graph, nodes, edges, count, mode))

#define END_CAPTURE_HOOK(name) \
    EXPORT CUresult name(CUstream stream, CUgraph *graph) { \
        CUresult answer = REAL(name)(stream, graph); \
        if (IN_FORCE()) capture_after_end(stream, answer); \
        return answer; \
    }
END_CAPTURE_HOOK(cuStreamEndCapture)
END_CAPTURE_HOOK(cuStreamEndCapture_ptsz)
