/* cuda_memory.c: the driver's hooks for memory: of the device, of pools, page-locked, and what shows a block's identity. They hold
 * no policy: note, ask src/device, answer. */
#include "preload/cuda_hook.h"
#include "heap/clear.h"

/* --- device memory */

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
