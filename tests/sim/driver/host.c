/* host.c: page-locked, registered and managed host memory. All of it is ordinary host memory here; what matters is that the
 * driver knows the range. Device and host pointers are equal (unified addressing).
 * Ranges lie in one sorted array: there are few, and they are asked for by address. */
#define _GNU_SOURCE
#include "memory.h"
#include "stream.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct host_range *ranges;
static size_t count, room;

/* The last range that begins at or before the address, plus one. */
static size_t upper(uintptr_t p) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (ranges[mid].base <= p) low = mid + 1; else high = mid;
    }
    return low;
}

static bool overlaps(uintptr_t base, size_t size) {
    size_t i = upper(base);
    if (i > 0 && ranges[i - 1].base + ranges[i - 1].size > base) return true;
    return i < count && ranges[i].base < base + size;
}

static void insert(struct host_range r) {
    if (count == room) ranges = realloc(ranges, sizeof *ranges * (room = room ? room * 2 : 64));
    size_t i = upper(r.base);
    memmove(ranges + i + 1, ranges + i, sizeof *ranges * (count - i));
    ranges[i] = r;
    count++;
}

bool host_find(const void *pointer, struct host_range *out) {
    uintptr_t p = (uintptr_t)pointer;
    pthread_rwlock_rdlock(&lock);
    size_t i = upper(p);
    bool found = i > 0 && p - ranges[i - 1].base < ranges[i - 1].size;
    if (found && out) *out = ranges[i - 1];
    pthread_rwlock_unlock(&lock);
    return found;
}

bool host_is_pinned(const void *pointer, size_t size) {
    struct host_range r;
    return host_find(pointer, &r) && (uintptr_t)pointer + size <= r.base + r.size;
}

CUresult host_allocate(CUcontext c, size_t size, enum host_kind kind, unsigned flags, void **out) {
    size_t span = ALIGN_UP(size, 4096);
    if (span < size) return CUDA_ERROR_OUT_OF_MEMORY;
    u64 reserved = 0;
    if (kind == HOST_MANAGED) {
        reserved = charge_for(size);
        if (!device_charge(c->device, size, reserved)) return CUDA_ERROR_OUT_OF_MEMORY;
    }
    void *p = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        if (reserved) device_uncharge(c->device, size, reserved);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    pthread_rwlock_wrlock(&lock);
    insert((struct host_range){ (uintptr_t)p, size, kind, flags, c, fresh_id(), c->device, reserved, false });
    pthread_rwlock_unlock(&lock);
    *out = p;
    return CUDA_SUCCESS;
}

CUresult host_release(void *pointer, enum host_kind kind) {
    struct host_range r;
    pthread_rwlock_wrlock(&lock);
    size_t i = upper((uintptr_t)pointer);
    bool found = i > 0 && ranges[i - 1].base == (uintptr_t)pointer && ranges[i - 1].kind == kind;
    if (found) {
        r = ranges[--i];
        memmove(ranges + i, ranges + i + 1, sizeof *ranges * (count - i - 1));
        count--;
    }
    pthread_rwlock_unlock(&lock);
    if (!found) return CUDA_ERROR_INVALID_VALUE;
    if (r.kind != HOST_REGISTERED) munmap(pointer, ALIGN_UP(r.size, 4096));
    if (r.reserved) device_uncharge(r.device, r.size, r.reserved);
    return CUDA_SUCCESS;
}

void host_drop_context(CUcontext c) {
    for (;;) {
        struct host_range r = { 0 };
        pthread_rwlock_rdlock(&lock);
        for (size_t i = 0; i < count && !r.base; i++)
            if (ranges[i].context == c) r = ranges[i];
        pthread_rwlock_unlock(&lock);
        if (!r.base) return;
        host_release((void *)r.base, r.kind);
    }
}

CUresult DRV(cuMemHostAlloc)(void **out, size_t size, unsigned flags) {
    CUcontext c;
    if (!out || !size || flags & ~7u) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    return host_allocate(c, size, HOST_PINNED, flags, out);
}

CUresult DRV(cuMemAllocHost_v2)(void **out, size_t size) { return DRV(cuMemHostAlloc)(out, size, 0); }

CUresult DRV(cuMemFreeHost)(void *pointer) {
    CUcontext c;
    TRY(context_current(&c));
    if (!pointer) return CUDA_SUCCESS;
    struct host_range r;
    if (!host_find(pointer, &r) || r.base != (uintptr_t)pointer || r.kind != HOST_PINNED) return CUDA_ERROR_INVALID_VALUE;
    device_synchronize(c->device);
    return host_release(pointer, HOST_PINNED);
}

CUresult DRV(cuMemHostRegister_v2)(void *pointer, size_t size, unsigned flags) {
    CUcontext c;
    if (!pointer || !size || flags & ~15u) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    CUresult result = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    pthread_rwlock_wrlock(&lock);
    if (!overlaps((uintptr_t)pointer, size)) {
        insert((struct host_range){ (uintptr_t)pointer, size, HOST_REGISTERED, flags, c, fresh_id(), c->device, 0, false });
        result = CUDA_SUCCESS;
    }
    pthread_rwlock_unlock(&lock);
    return result;
}

CUresult DRV(cuMemHostUnregister)(void *pointer) {
    CUcontext c;
    if (!pointer) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    CUresult result = host_release(pointer, HOST_REGISTERED);
    return result == CUDA_SUCCESS ? result : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

CUresult DRV(cuMemHostGetDevicePointer_v2)(CUdeviceptr *out, void *pointer, unsigned flags) {
    CUcontext c;
    if (!out || flags) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    if (!host_find(pointer, NULL)) return CUDA_ERROR_INVALID_VALUE;
    *out = (CUdeviceptr)(uintptr_t)pointer;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemHostGetFlags)(unsigned *out, void *pointer) {
    struct host_range r;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!host_find(pointer, &r) || r.kind != HOST_PINNED) return CUDA_ERROR_INVALID_VALUE;
    *out = r.flags | CU_MEMHOSTALLOC_DEVICEMAP;      /* always mapped under unified addressing */
    return CUDA_SUCCESS;
}
