/* cuda_driver.c: the CUDA driver's functions, as libraries find them by symbol, by dlsym and by cuGetProcAddress.
 *
 * Every library in a process reaches the driver, also those with a CUDA runtime of their own inside (cuBLAS, NCCL), so
 * this is where misses, out-of-memory and teardown are handled. Which functions are hooked says cuda_calls.def; hooks
 * that only pass through are generated from NVIDIA's header, the others stand below and hold no policy: note, ask
 * src/device, answer. Each exported ABI variant has its own hook; cuGetProcAddress is routed by the address that the
 * real one returned, so the caller gets the hook of exactly that variant. */
#include "device/device.h"
#include "base/start.h"
#include "device/fence.h"
#include "device/work.h"
#include "heap/clear.h"
#include "intern/peers.h"
#include "preload/cuda_weights.h"
#include "preload/symbol_lookup.h"
#include "stats/counters.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

enum hook_id {
#define ACTED_HOOK(name) HOOK_##name,
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights) HOOK_##name,
#define KNOWN_NAME(name)
#include "cuda_hooks.inc"
    HOOK_COUNT
};
enum hook_kind { ACTED, ALLOC, SIZED, WORK, WAIT };
static const struct hook_row { const char *name; void *hook; enum hook_kind kind; } hook_rows[HOOK_COUNT] = {
#undef ACTED_HOOK
#undef PASS_HOOK
#define ACTED_HOOK(name) { #name, (void *)name, ACTED },
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights) { #name, (void *)name, kind },
#include "cuda_hooks.inc"
};
/* Every name of the header, without ABI suffixes, sorted. */
static const char *const known_names[] = {
#undef ACTED_HOOK
#undef PASS_HOOK
#undef KNOWN_NAME
#define ACTED_HOOK(name)
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights)
#define KNOWN_NAME(name) name,
#include "cuda_hooks.inc"
};

/* Written by whoever comes first; racing threads write the same values, so no lock is held across dlsym. */
static void *_Atomic hook_real[HOOK_COUNT]; /* what comes after us, another preload's hook perhaps */
static void *_Atomic hook_own[HOOK_COUNT];  /* the driver library's own, which cuGetProcAddress answers */
static counter *hook_calls[HOOK_COUNT];
static _Atomic bool in_force;

/* What a hook answers when there is no driver behind it: nobody who has none should come here. */
static CUresult no_driver(void) { return CUDA_ERROR_NOT_INITIALIZED; }

static void *find_for_device(const char *name) { return next_symbol(name, "libcuda.so.1"); }

static COLD bool open_driver(void) {
    if (!library_is_loaded("libcuda.so.1")) return false;
    void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    for (unsigned i = 0; i < HOOK_COUNT; i++) {
        atomic_store(&hook_own[i], real_dlsym(handle, hook_rows[i].name));
        if (hook_rows[i].kind == ALLOC || hook_rows[i].kind == SIZED) hook_calls[i] = counters_call(hook_rows[i].name);
        atomic_store(&hook_real[i], next_symbol(hook_rows[i].name, "libcuda.so.1"));
    }
    dlclose(handle);
    dlerror();
    driver_fill(find_for_device);
    weights_start(), peers_install();
    sites_prime();
    atomic_store_explicit(&in_force, coppice_start() == MODE_ON && driver_ready(), memory_order_release);
    return true;
}

bool cuda_driver_open(void) {
    static _Atomic bool opened;
    if (likely(atomic_load_explicit(&opened, memory_order_acquire))) return true;
    if (!open_driver()) return false;
    atomic_store_explicit(&opened, true, memory_order_release);
    return true;
}

static COLD void *find_real(enum hook_id id) {
    cuda_driver_open();
    void *found = atomic_load(&hook_real[id]);
    return found ? found : (void *)no_driver;
}

#define REAL(name) ({ \
    void *real_ = atomic_load_explicit(&hook_real[HOOK_##name], memory_order_relaxed); \
    (__typeof__(&name))(likely(real_ != NULL) ? real_ : find_real(HOOK_##name)); })
#define IN_FORCE() likely(atomic_load_explicit(&in_force, memory_order_relaxed))

static bool known(const char *name) {
    char base[96];
    size_t n = strlen(name);
    if (n >= sizeof base) return false;
    memcpy(base, name, n + 1);
    if (n > 5 && (strcmp(base + n - 5, "_ptsz") == 0 || strcmp(base + n - 5, "_ptds") == 0)) base[n -= 5] = 0;
    if (n > 3 && base[n - 3] == '_' && base[n - 2] == 'v') base[n - 3] = 0;
    size_t low = 0, high = sizeof known_names / sizeof *known_names;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(base, known_names[middle]);
        if (order == 0) return true;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return false;
}

void *cuda_driver_route(void *real, const char *name) {
    if (!cuda_driver_open()) return real;
    for (unsigned i = 0; i < HOOK_COUNT; i++)
        if (real == atomic_load(&hook_own[i]) || real == atomic_load(&hook_real[i])) return hook_rows[i].hook;
    if (!known(name)) work_is_untracked(); /* it may submit work that we never see */
    return real;
}

bool cuda_driver_has_hook(const char *name) {
    for (unsigned i = 0; i < HOOK_COUNT; i++)
        if (strcmp(hook_rows[i].name, name) == 0) return true;
    return false;
}

/* In a fork's child nothing of the parent's CUDA state may be used: every hook passes through. */
static void fork_child(void) {
    atomic_store(&in_force, false);
    device_fork_child(), peers_fork_child();
}
static __attribute__((constructor)) void watch_fork(void) { pthread_atfork(NULL, NULL, fork_child); }

/* --- hooks that pass through, generated: one macro, so that none can forget a step */
#undef ACTED_HOOK
#undef PASS_HOOK
#undef KNOWN_NAME
#define ACTED_HOOK(name)
#define KNOWN_NAME(name)
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights) \
    EXPORT CUresult name params { \
        __typeof__(&name) real = REAL(name); \
        struct room room = { 0 }; \
        CUresult answer; \
        if (!IN_FORCE()) return real args; \
        if (kind == ALLOC || kind == SIZED) counter_add(hook_calls[HOOK_##name], 1); \
        if (kind == SIZED && !room_is_left(bytes)) return CUDA_ERROR_OUT_OF_MEMORY; \
        do { \
            if (kind == WORK && unlikely(atomic_load_explicit(&weights_on, memory_order_relaxed))) answer = weights; \
            else answer = real args; \
            if (kind == WORK) stream_worked(stream); \
        } while (room_made(&room, answer)); \
        if (unlikely(room.links > 0)) room_settled(&room, answer); \
        if (unlikely(answer != CUDA_SUCCESS)) context_faulted(answer); \
        else { trace; } \
        return answer; \
    }
#define OTHER(kind, address, size, extra) device_note_other(OTHER_##kind, (uint64_t)(address), (uint64_t)(size), (uint64_t)(extra))
#include "cuda_hooks.inc"

/* --- memory */

/* Below the runtime's hook it is known already who asks. */
static inline void asked(size_t size, const void *caller) {
    if (!thread_device.asked) device_asked(size, caller, API_CU_MEM_ALLOC);
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    __typeof__(&cuMemAlloc_v2) real = REAL(cuMemAlloc_v2);
    asked(size, __builtin_return_address(0));
    return IN_FORCE() ? device_alloc(address, size) : real(address, size);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
    __typeof__(&cuMemFree_v2) real = REAL(cuMemFree_v2);
    return IN_FORCE() ? device_free(address) : real(address);
}

EXPORT CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned element) {
    __typeof__(&cuMemAllocPitch_v2) real = REAL(cuMemAllocPitch_v2);
    asked(width * height, __builtin_return_address(0));
    return IN_FORCE() ? device_alloc_pitch(address, pitch, width, height, element) : real(address, pitch, width, height, element);
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    __typeof__(&cuMemFreeAsync) real = REAL(cuMemFreeAsync);
    return IN_FORCE() ? device_free_by(address, real, stream) : real(address, stream);
}

EXPORT CUresult cuMemFreeAsync_ptsz(CUdeviceptr address, CUstream stream) {
    __typeof__(&cuMemFreeAsync_ptsz) real = REAL(cuMemFreeAsync_ptsz);
    return IN_FORCE() ? device_free_by(address, real, stream) : real(address, stream);
}

EXPORT CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
    __typeof__(&cuMemGetInfo_v2) real = REAL(cuMemGetInfo_v2);
    return IN_FORCE() ? device_memory_info(available, total) : real(available, total);
}

EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    __typeof__(&cuMemGetAddressRange_v2) real = REAL(cuMemGetAddressRange_v2);
    return IN_FORCE() ? device_address_range(base, size, address) : real(base, size, address);
}

/* --- the program's own pools: trimmed when the device is full */
EXPORT CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
    CUresult answer = REAL(cuMemPoolCreate)(pool, properties);
    if (IN_FORCE() && answer == CUDA_SUCCESS) room_remember_pool(*pool);
    return answer;
}

EXPORT CUresult cuMemPoolDestroy(CUmemoryPool pool) {
    __typeof__(&cuMemPoolDestroy) real = REAL(cuMemPoolDestroy);
    if (IN_FORCE()) room_forget_pool(pool); /* first: its address may come again */
    return real(pool);
}

/* --- page-locked host memory */
#define PINNED_HOOK(name, params, args, ours, trace) \
    EXPORT CUresult name params { \
        __typeof__(&name) real = REAL(name); \
        if (!IN_FORCE()) return real args; \
        CUresult answer = ours; \
        if (answer == CUDA_SUCCESS) trace; \
        return answer; \
    }
PINNED_HOOK(cuMemHostAlloc, (void **p, size_t size, unsigned flags), (p, size, flags), pinned_alloc(p, size, flags, false), OTHER(HOST_ALLOC, *p, size, 0))
PINNED_HOOK(cuMemAllocHost_v2, (void **p, size_t size), (p, size), pinned_alloc(p, size, 0, true), OTHER(HOST_ALLOC, *p, size, 0))
PINNED_HOOK(cuMemFreeHost, (void *p), (p), pinned_free(p), OTHER(HOST_FREE, p, 0, 0))

/* --- host memory that the device will write into: the heap must not take its pages away */
#define REGISTER_HOOK(name) \
    EXPORT CUresult name(void *p, size_t size, unsigned flags) { \
        __typeof__(&name) real = REAL(name); \
        heap_pins_add(1); \
        CUresult answer = real(p, size, flags); \
        if (answer != CUDA_SUCCESS) heap_pins_add(-1); \
        return answer; \
    }
REGISTER_HOOK(cuMemHostRegister)
REGISTER_HOOK(cuMemHostRegister_v2)

EXPORT CUresult cuMemHostUnregister(void *p) {
    CUresult answer = REAL(cuMemHostUnregister)(p);
    if (answer == CUDA_SUCCESS) heap_pins_add(-1);
    return answer;
}

/* --- identity: once shown, a block is never reused */
EXPORT CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address) {
    if (IN_FORCE() && device_is_of_pages(address)) return device_show(handle, address);
    CUresult answer = REAL(cuIpcGetMemHandle)(handle, address);
    if (IN_FORCE() && answer == CUDA_SUCCESS) device_exported(address);
    return answer;
}

#define OPEN_HOOK(name) \
    EXPORT CUresult name(CUdeviceptr *address, CUipcMemHandle handle, unsigned flags) { \
        __typeof__(&name) real = REAL(name); \
        struct room room = { 0 }; \
        CUresult answer; \
        if (!IN_FORCE()) return real(address, handle, flags); \
        counter_add(counters_call(#name), 1); \
        do answer = import_is_ours(&handle) ? import_open(address, &handle, flags) : real(address, handle, flags); \
        while (room_made(&room, answer)); \
        if (unlikely(room.links > 0)) room_settled(&room, answer); \
        context_faulted(answer); \
        return answer; \
    }
OPEN_HOOK(cuIpcOpenMemHandle)
OPEN_HOOK(cuIpcOpenMemHandle_v2)

EXPORT CUresult cuIpcCloseMemHandle(CUdeviceptr address) {
    CUresult answer;
    return IN_FORCE() && import_close(address, &answer) ? answer : REAL(cuIpcCloseMemHandle)(address);
}

EXPORT CUresult cuMemGetHandleForAddressRange(void *handle, CUdeviceptr address, size_t size, CUmemRangeHandleType type, unsigned long long flags) {
    if (IN_FORCE()) weights_exclude(address); /* before it is shown: what others have too is nobody's to hand out */
    CUresult answer = REAL(cuMemGetHandleForAddressRange)(handle, address, size, type, flags);
    if (IN_FORCE() && answer == CUDA_SUCCESS) device_exported(address);
    return answer;
}

static bool shows_identity(CUpointer_attribute attribute) {
    return attribute == CU_POINTER_ATTRIBUTE_BUFFER_ID || attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS;
}

EXPORT CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address) {
    if (IN_FORCE()) weights_asked_about(address);
    CUresult answer = REAL(cuPointerGetAttribute)(value, attribute, address);
    if (!IN_FORCE() || answer != CUDA_SUCCESS) return answer;
    if (shows_identity(attribute)) device_exported(address);
    device_correct_attribute(attribute, value, address);
    return answer;
}

EXPORT CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes, void **values, CUdeviceptr address) {
    if (IN_FORCE()) weights_asked_about(address);
    CUresult answer = REAL(cuPointerGetAttributes)(count, attributes, values, address);
    if (!IN_FORCE() || answer != CUDA_SUCCESS) return answer;
    for (unsigned i = 0; i < count; i++) {
        if (shows_identity(attributes[i])) device_exported(address);
        device_correct_attribute(attributes[i], values[i], address);
    }
    return answer;
}

/* SYNC_MEMOPS marks the allocation itself: the next owner must not inherit it. */
EXPORT CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address) {
    if (IN_FORCE()) weights_exclude(address);
    CUresult answer = REAL(cuPointerSetAttribute)(value, attribute, address);
    if (IN_FORCE() && answer == CUDA_SUCCESS) device_exported(address);
    return answer;
}

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
        if (!IN_FORCE()) return real(stream); \
        fence_stream_ending(stream); \
        CUresult answer = real(stream); \
        if (answer == CUDA_SUCCESS) fence_stream_ended(stream); \
        return answer; \
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

/* --- where libraries ask for everything else */
static void route_answer(CUresult answer, const char *name, void **function) {
    if (cuda_driver_open() && IN_FORCE() && answer == CUDA_SUCCESS && function && *function) *function = cuda_driver_route(*function, name);
}

EXPORT CUresult cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags) {
    CUresult answer = REAL(cuGetProcAddress)(name, function, version, flags);
    route_answer(answer, name, function);
    return answer;
}

EXPORT CUresult cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status) {
    CUresult answer = REAL(cuGetProcAddress_v2)(name, function, version, flags, status);
    route_answer(answer, name, function);
    return answer;
}

/* A private table may submit work that no hook sees. */
EXPORT CUresult cuGetExportTable(const void **table, const CUuuid *id) {
    CUresult answer = REAL(cuGetExportTable)(table, id);
    if (answer == CUDA_SUCCESS) work_is_untracked();
    return answer;
}
