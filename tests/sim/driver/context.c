/* context.c: contexts, the thread's stack of them, sticky errors, and what it means to wait for a whole context.
 * A primary context exists while somebody retains it or it was set current; release to zero and reset destroy what it holds
 * (streams, events, modules, allocations) but the handle stays the same for the life of the process. */
#include "sim.h"
#include "capture.h"
#include "control.h"
#include "module.h"
#include "event.h"
#include "memory.h"
#include "pool.h"
#include "stream.h"
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static CUcontext list[256];
static int list_count;
static _Atomic u64 next_context_id = 1;

static const size_t default_limits[CU_LIMIT_MAX] = {
    [CU_LIMIT_STACK_SIZE] = 1024, [CU_LIMIT_PRINTF_FIFO_SIZE] = 7340032, [CU_LIMIT_MALLOC_HEAP_SIZE] = 8388608,
    [CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2, [CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048,
    [CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64,
};

static void context_start(CUcontext c) {
    c->active = true;
    c->id = atomic_fetch_add(&next_context_id, 1);
    c->error = CUDA_SUCCESS;
    c->peers = 0;
    memcpy(c->limits, default_limits, sizeof c->limits);
    c->legacy = stream_make(c, CU_STREAM_DEFAULT, 0);
    c->legacy->legacy = true;
}

CUcontext context_make(struct device *device, unsigned flags, bool primary) {
    CUcontext c = object_new(CONTEXT, sizeof *c);
    c->device = device;
    c->flags = flags;
    c->primary = primary;
    c->api_version = 3020;
    context_start(c);
    pthread_mutex_lock(&list_lock);
    if (list_count == (int)COUNT_OF(list)) {
        pthread_mutex_unlock(&list_lock);
        return NULL;
    }
    list[list_count++] = c;
    pthread_mutex_unlock(&list_lock);
    return c;
}

CUresult context_usable(CUcontext c) {
    if (!is(c, CONTEXT)) return CUDA_ERROR_INVALID_CONTEXT;
    if (!c->active) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return (CUresult)atomic_load_explicit(&c->error, memory_order_relaxed);
}

CUresult context_current(CUcontext *out) {
    if (self.depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
    *out = self.stack[self.depth - 1];
    return context_usable(*out);
}

void context_fault(CUcontext c, CUresult error) {
    int none = CUDA_SUCCESS;
    atomic_compare_exchange_strong(&c->error, &none, (int)error);
}

void context_synchronize(CUcontext c) {
    struct record *r = record_of_context(c);
    record_wait(r);
    record_unref(r);
}

void contexts_for_device(struct device *device, void (*visit)(CUcontext, void *), void *arg) {
    CUcontext copy[COUNT_OF(list)];
    int n = 0;
    pthread_mutex_lock(&list_lock);
    for (int i = 0; i < list_count; i++)
        if (list[i]->active && (!device || list[i]->device == device)) copy[n++] = list[i];
    pthread_mutex_unlock(&list_lock);
    for (int i = 0; i < n; i++) visit(copy[i], arg);
}

static void visit_synchronize(CUcontext c, void *arg) { (void)arg; context_synchronize(c); }

/* Peers may reach this device's memory too, so their work counts. */
void device_synchronize(struct device *device) {
    (void)device;
    if (atomic_load(&work_pending) == 0) return;
    contexts_for_device(NULL, visit_synchronize, NULL);
}

/* Everything the context owns goes. Its streams' work is finished first. */
static void context_clear(CUcontext c) {
    context_synchronize(c);
    for (;;) {
        pthread_mutex_lock(&order_lock);
        CUstream s = c->streams;
        while (s && s->destroyed) s = s->next_in_context;
        pthread_mutex_unlock(&order_lock);
        if (!s) break;
        stream_destroy(s);
    }
    events_drop_context(c);
    modules_drop_context(c);
    if (!mutated(MUTATION_reset_keeps)) memory_drop_context(c);
    c->active = false;
    c->legacy = NULL;
}

static void context_destroy(CUcontext c) {
    context_clear(c);
    pthread_mutex_lock(&list_lock);
    for (int i = 0; i < list_count; i++)
        if (list[i] == c) list[i] = list[--list_count];
    pthread_mutex_unlock(&list_lock);
    object_free(c);
}

/* ---- primary contexts */
static pthread_mutex_t primary_lock = PTHREAD_MUTEX_INITIALIZER;

static void primary_activate(struct device *d) {
    if (!d->primary) d->primary = context_make(d, d->primary_flags, true);
    else if (!d->primary->active) context_start(d->primary);
    d->primary->flags = d->primary_flags;
}

CUresult DRV(cuDevicePrimaryCtxRetain)(CUcontext *out, CUdevice ordinal) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&primary_lock);
    primary_activate(d);
    d->primary_refs++;
    *out = d->primary;
    pthread_mutex_unlock(&primary_lock);
    return CUDA_SUCCESS;
}

CUresult DRV(cuDevicePrimaryCtxRelease)(CUdevice ordinal) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&primary_lock);
    CUresult result = d->primary_refs ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
    if (d->primary_refs && --d->primary_refs == 0 && d->primary->active) context_clear(d->primary);
    pthread_mutex_unlock(&primary_lock);
    return result;
}

CUresult DRV(cuDevicePrimaryCtxRelease_v2)(CUdevice ordinal) { return DRV(cuDevicePrimaryCtxRelease)(ordinal); }

/* Destroys what the context holds; those who retained it keep their right to a fresh one at once. */
CUresult DRV(cuDevicePrimaryCtxReset)(CUdevice ordinal) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&primary_lock);
    if (d->primary && d->primary->active) {
        context_clear(d->primary);
        d->primary_flags = 0;
        if (d->primary_refs) primary_activate(d);
    }
    pthread_mutex_unlock(&primary_lock);
    return CUDA_SUCCESS;
}

CUresult DRV(cuDevicePrimaryCtxReset_v2)(CUdevice ordinal) { return DRV(cuDevicePrimaryCtxReset)(ordinal); }

CUresult DRV(cuDevicePrimaryCtxSetFlags)(CUdevice ordinal, unsigned flags) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    if (flags & ~(unsigned)CU_CTX_FLAGS_MASK) return CUDA_ERROR_INVALID_VALUE;
    d->primary_flags = flags;
    if (d->primary) d->primary->flags = flags;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDevicePrimaryCtxSetFlags_v2)(CUdevice ordinal, unsigned flags) { return DRV(cuDevicePrimaryCtxSetFlags)(ordinal, flags); }

CUresult DRV(cuDevicePrimaryCtxGetState)(CUdevice ordinal, unsigned *flags, int *active) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    if (!flags || !active) return CUDA_ERROR_INVALID_VALUE;
    *flags = d->primary_flags;
    *active = d->primary && d->primary->active;
    return CUDA_SUCCESS;
}

/* ---- created contexts, and the stack */
CUresult DRV(cuCtxCreate_v2)(CUcontext *out, unsigned flags, CUdevice ordinal) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    if (!out || flags & ~(unsigned)CU_CTX_FLAGS_MASK || (flags & CU_CTX_SCHED_MASK) == 3) return CUDA_ERROR_INVALID_VALUE;
    if (self.depth == STACK_DEPTH) return CUDA_ERROR_OUT_OF_MEMORY;
    CUcontext c = context_make(d, flags, false);
    if (!c) return CUDA_ERROR_OUT_OF_MEMORY;
    self.stack[self.depth++] = c;
    *out = c;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxCreate)(CUcontext *out, unsigned flags, CUdevice ordinal) { return DRV(cuCtxCreate_v2)(out, flags, ordinal); }

CUresult DRV(cuCtxCreate_v3)(CUcontext *out, CUexecAffinityParam *params, int count, unsigned flags, CUdevice ordinal) {
    if (params || count) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return DRV(cuCtxCreate_v2)(out, flags, ordinal);
}

CUresult DRV(cuCtxCreate_v4)(CUcontext *out, CUctxCreateParams *params, unsigned flags, CUdevice ordinal) {
    if (params && (params->numExecAffinityParams || params->cigParams)) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return DRV(cuCtxCreate_v2)(out, flags, ordinal);
}

CUresult DRV(cuCtxDestroy_v2)(CUcontext c) {
    if (!is(c, CONTEXT)) return CUDA_ERROR_INVALID_CONTEXT;
    if (c->primary) return CUDA_ERROR_INVALID_CONTEXT;
    if (self.depth && self.stack[self.depth - 1] == c) self.depth--;
    context_destroy(c);
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxDestroy)(CUcontext c) { return DRV(cuCtxDestroy_v2)(c); }

CUresult DRV(cuCtxAttach)(CUcontext *out, unsigned flags) {
    CUcontext c;
    if (!out || flags) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = c;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxDetach)(CUcontext c) { return is(c, CONTEXT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }

CUresult DRV(cuCtxPushCurrent_v2)(CUcontext c) {
    if (!is(c, CONTEXT)) return CUDA_ERROR_INVALID_CONTEXT;
    if (self.depth == STACK_DEPTH) return CUDA_ERROR_OUT_OF_MEMORY;
    self.stack[self.depth++] = c;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxPushCurrent)(CUcontext c) { return DRV(cuCtxPushCurrent_v2)(c); }

CUresult DRV(cuCtxPopCurrent_v2)(CUcontext *out) {
    if (self.depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
    CUcontext c = self.stack[--self.depth];
    if (out) *out = c;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxPopCurrent)(CUcontext *out) { return DRV(cuCtxPopCurrent_v2)(out); }

/* Replaces the top of the stack; NULL pops it. */
CUresult DRV(cuCtxSetCurrent)(CUcontext c) {
    if (c && !is(c, CONTEXT)) return CUDA_ERROR_INVALID_CONTEXT;
    if (!c) {
        if (self.depth) self.depth--;
        return CUDA_SUCCESS;
    }
    if (self.depth == 0) self.depth = 1;
    self.stack[self.depth - 1] = c;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetCurrent)(CUcontext *out) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = self.depth ? self.stack[self.depth - 1] : NULL;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetDevice)(CUdevice *out) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = c->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetDevice_v2)(CUdevice *out, CUcontext c) {
    if (!c) return DRV(cuCtxGetDevice)(out);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_usable(c));
    *out = c->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetFlags)(unsigned *out) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = c->flags;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxSetFlags)(unsigned flags) {
    CUcontext c;
    if (flags & ~(unsigned)CU_CTX_FLAGS_MASK) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    c->flags = flags;
    if (c->primary) c->device->primary_flags = flags;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetId)(CUcontext c, unsigned long long *out) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!c) TRY(context_current(&c));
    TRY(context_usable(c));
    *out = c->id;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetApiVersion)(CUcontext c, unsigned *out) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!c) TRY(context_current(&c));
    if (!is(c, CONTEXT)) return CUDA_ERROR_INVALID_CONTEXT;
    *out = c->api_version;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxSynchronize)(void) {
    CUcontext c;
    TRY(context_current(&c));
    TRY(capture_refuse_context(c));
    context_synchronize(c);
    pools_after_synchronization();
    return (CUresult)atomic_load(&c->error);
}

CUresult DRV(cuCtxSynchronize_v2)(CUcontext c) {
    if (!c) return DRV(cuCtxSynchronize)();
    TRY(context_usable(c));
    context_synchronize(c);
    pools_after_synchronization();
    return (CUresult)atomic_load(&c->error);
}

CUresult DRV(cuCtxEnablePeerAccess)(CUcontext peer, unsigned flags) {
    CUcontext c;
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    TRY(context_usable(peer));
    if (peer->device == c->device) return CUDA_ERROR_INVALID_DEVICE;
    if (c->peers >> peer->device->ordinal & 1) return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
    c->peers |= 1ull << peer->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxDisablePeerAccess)(CUcontext peer) {
    CUcontext c;
    TRY(context_current(&c));
    TRY(context_usable(peer));
    if (!(c->peers >> peer->device->ordinal & 1)) return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
    c->peers &= ~(1ull << peer->device->ordinal);
    return CUDA_SUCCESS;
}
