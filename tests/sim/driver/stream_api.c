/* stream_api.c: the stream functions of the API: making, asking, waiting, callbacks. */
#include "stream.h"
#include "capture.h"
#include "pool.h"

CUresult DRV(cuStreamCreateWithPriority)(CUstream *out, unsigned flags, int priority) {
    CUcontext c;
    if (!out || flags & ~(unsigned)CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = stream_make(c, flags, MIN(MAX(priority, -5), 0));
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamCreate)(CUstream *out, unsigned flags) { return DRV(cuStreamCreateWithPriority)(out, flags, 0); }

CUresult DRV(cuStreamDestroy_v2)(CUstream handle) {
    if ((uintptr_t)handle <= 2 || !is(handle, STREAM) || handle->destroyed) return CUDA_ERROR_INVALID_HANDLE;
    TRY(context_usable(handle->context));
    capture_stream_destroyed(handle);
    stream_destroy(handle);
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamDestroy)(CUstream handle) { return DRV(cuStreamDestroy_v2)(handle); }

CUresult DRV(cuStreamSynchronize)(CUstream handle) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    TRY(capture_refuse(s));
    stream_synchronize(s);
    pools_after_synchronization();
    return (CUresult)atomic_load(&s->context->error);
}

CUresult DRV(cuStreamQuery)(CUstream handle) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    TRY(capture_refuse(s));
    struct record *r = record_of_stream(s);
    bool passed = record_passed(r);
    record_unref(r);
    return passed ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult DRV(cuStreamGetPriority)(CUstream handle, int *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = s->priority;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamGetFlags)(CUstream handle, unsigned *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = s->flags;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamGetId)(CUstream handle, unsigned long long *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = s->id;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamGetCtx)(CUstream handle, CUcontext *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = s->context;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamGetCtx_v2)(CUstream handle, CUcontext *out, CUgreenCtx *green) {
    if (green) *green = NULL;
    return DRV(cuStreamGetCtx)(handle, out);
}

CUresult DRV(cuStreamGetDevice)(CUstream handle, CUdevice *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = s->context->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamCopyAttributes)(CUstream to, CUstream from) {
    CUstream a, b;
    TRY(stream_resolve(to, &a));
    TRY(stream_resolve(from, &b));
    a->synchronization_policy = b->synchronization_policy;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamGetAttribute)(CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = (CUstreamAttrValue){ 0 };
    if (attribute == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY) out->syncPolicy = (CUsynchronizationPolicy)s->synchronization_policy;
    else if (attribute == CU_LAUNCH_ATTRIBUTE_PRIORITY) out->priority = s->priority;
    else if (attribute != CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW && attribute != CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN &&
             attribute != CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP) return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamSetAttribute)(CUstream handle, CUstreamAttrID attribute, const CUstreamAttrValue *value) {
    CUstream s;
    if (!value) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    if (attribute == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY) s->synchronization_policy = (int)value->syncPolicy;
    return CUDA_SUCCESS;
}

/* ---- host functions and callbacks: on the stream's thread, which may not use the driver meanwhile */
struct host_body { CUhostFn function; CUstreamCallback callback; void *data; CUstream handle; };

static void run_host(struct operation *o) {
    struct host_body *b = BODY(struct host_body, o);
    self.in_callback = true;
    if (b->function) b->function(b->data);
    else b->callback(b->handle, (CUresult)atomic_load(&o->context->error), b->data);
    self.in_callback = false;
}

extern void entry_look_closer(int delta);

CUresult submit_host_function(CUstream s, CUhostFn function, void *data) {
    static _Atomic bool watched;
    if (!atomic_exchange(&watched, true)) entry_look_closer(1);      /* from now on "in_callback" matters */
    struct operation *o = operation_new(s->context, run_host);
    *BODY(struct host_body, o) = (struct host_body){ .function = function, .data = data };
    stream_submit(s, o, SUBMIT_PLAIN);
    return CUDA_SUCCESS;
}

CUresult DRV(cuLaunchHostFunc)(CUstream handle, CUhostFn function, void *data) {
    CUstream s;
    if (!function) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    CUDA_HOST_NODE_PARAMS params = { function, data };
    bool captured;
    TRY(capture_host(s, &params, &captured));
    return captured ? CUDA_SUCCESS : submit_host_function(s, function, data);
}

/* A callback runs even when the context is broken, with the error as its argument. */
CUresult DRV(cuStreamAddCallback)(CUstream handle, CUstreamCallback callback, void *data, unsigned flags) {
    CUstream s;
    if (!callback || flags) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    TRY(capture_refuse(s));
    static _Atomic bool watched;
    if (!atomic_exchange(&watched, true)) entry_look_closer(1);
    struct operation *o = operation_new(s->context, run_host);
    o->even_after_fault = true;
    *BODY(struct host_body, o) = (struct host_body){ .callback = callback, .data = data, .handle = handle };
    stream_submit(s, o, SUBMIT_PLAIN);
    return CUDA_SUCCESS;
}
