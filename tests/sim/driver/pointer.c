/* pointer.c: what the driver knows about an address. The single query fails on an unknown pointer; the plural one answers with
 * defaults. A buffer id is never given twice. Managed-memory advice is accepted and has no effect. */
#include "pool.h"
#include "vmm.h"

struct facts { CUcontext context; CUmemorytype type; struct device *device; u64 base, id, range_base; size_t size, range_size; bool managed, ipc, registered, sync;
               unsigned handle_types; CUmemoryPool pool; bool found; };

static struct facts facts_of(CUdeviceptr p) {
    struct facts f = { 0 };
    struct host_range h;
    pthread_mutex_lock(&memory_lock);
    struct block *b = in_window(p) ? space_find(p) : NULL;
    if (b) {
        f = (struct facts){ .context = b->context, .type = CU_MEMORYTYPE_DEVICE, .device = b->device, .base = b->base, .size = b->size,
                            .id = mutated(MUTATION_buffer_id) ? b->base : b->id, .sync = b->sync_memops, .found = true };
        f.range_base = b->base, f.range_size = b->size;
        f.ipc = b->kind == BLOCK_PLAIN;
        if (b->kind == BLOCK_MAPPING) {
            zone_of(p, &f.range_base, &f.range_size);
            f.context = NULL;
        }
        if (b->kind == BLOCK_ASYNC) f.pool = b->owner;
    }
    pthread_mutex_unlock(&memory_lock);
    if (!b && host_find((void *)(uintptr_t)p, &h))
        f = (struct facts){ .context = h.context, .type = h.kind == HOST_MANAGED ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST, .device = h.device,
                            .base = h.base, .size = h.size, .id = h.id, .range_base = h.base, .range_size = h.size,
                            .managed = h.kind == HOST_MANAGED, .registered = h.kind == HOST_REGISTERED, .sync = h.sync_memops, .found = true };
    return f;
}

/* Attributes that even an unknown pointer has a value for, in the plural query. */
static CUresult answer(const struct facts *f, CUpointer_attribute a, CUdeviceptr p, void *out) {
    switch (a) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)out = f->context; break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(CUmemorytype *)out = f->type; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)out = f->found ? p : 0; break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER: *(void **)out = f->found && (f->type == CU_MEMORYTYPE_HOST || f->managed) ? (void *)(uintptr_t)p : NULL; break;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: *(unsigned *)out = f->sync; break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: *(unsigned long long *)out = f->id; break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned *)out = f->managed; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)out = f->device ? f->device->ordinal : -2; break;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: *(unsigned *)out = f->ipc; break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(CUdeviceptr *)out = f->range_base; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)out = f->range_size; break;
    case CU_POINTER_ATTRIBUTE_MAPPED: *(unsigned *)out = f->found; break;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: *(unsigned long long *)out = f->handle_types; break;
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE: *(unsigned *)out = 0; break;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: *(int *)out = f->found ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE : 0; break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: *(CUmemoryPool *)out = f->pool; break;
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE: *(size_t *)out = f->size; break;
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: *(CUdeviceptr *)out = f->base; break;
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: *(unsigned long long *)out = f->id; break;
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: *(unsigned *)out = 0; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult DRV(cuPointerGetAttribute)(void *out, CUpointer_attribute attribute, CUdeviceptr p) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    if (attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS) return CUDA_ERROR_NOT_SUPPORTED;
    struct facts f = facts_of(p);
    if (!f.found) return CUDA_ERROR_INVALID_VALUE;
    bool device_only = attribute == CU_POINTER_ATTRIBUTE_HOST_POINTER && f.type == CU_MEMORYTYPE_DEVICE && !f.managed;
    return device_only ? CUDA_ERROR_INVALID_VALUE : answer(&f, attribute, p, out);
}

CUresult DRV(cuPointerGetAttributes)(unsigned count, CUpointer_attribute *attributes, void **out, CUdeviceptr p) {
    CUcontext c;
    if (!count || !attributes || !out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    struct facts f = facts_of(p);
    for (unsigned i = 0; i < count; i++) TRY(answer(&f, attributes[i], p, out[i]));
    return CUDA_SUCCESS;
}

CUresult DRV(cuPointerSetAttribute)(const void *value, CUpointer_attribute attribute, CUdeviceptr p) {
    CUcontext c;
    if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    pthread_mutex_lock(&memory_lock);
    struct block *b = in_window(p) ? space_find(p) : NULL;
    if (b) b->sync_memops = *(const unsigned *)value != 0;
    pthread_mutex_unlock(&memory_lock);
    return b ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult managed_range(CUdeviceptr p, size_t n) {
    struct host_range h;
    if (!n || !host_find((void *)(uintptr_t)p, &h) || h.kind != HOST_MANAGED || p + n > h.base + h.size) return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPrefetchAsync)(CUdeviceptr p, size_t n, CUdevice d, CUstream s) {
    CUstream stream;
    if (d != CU_DEVICE_CPU && !device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    TRY(stream_resolve(s, &stream));
    return managed_range(p, n);
}

CUresult DRV(cuMemPrefetchAsync_v2)(CUdeviceptr p, size_t n, CUmemLocation to, unsigned flags, CUstream s) {
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    return DRV(cuMemPrefetchAsync)(p, n, to.type == CU_MEM_LOCATION_TYPE_DEVICE ? to.id : CU_DEVICE_CPU, s);
}

CUresult DRV(cuMemAdvise)(CUdeviceptr p, size_t n, CUmem_advise advice, CUdevice d) {
    (void)advice;
    if (d != CU_DEVICE_CPU && !device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    return managed_range(p, n);
}

CUresult DRV(cuMemAdvise_v2)(CUdeviceptr p, size_t n, CUmem_advise advice, CUmemLocation at) {
    return DRV(cuMemAdvise)(p, n, advice, at.type == CU_MEM_LOCATION_TYPE_DEVICE ? at.id : CU_DEVICE_CPU);
}

CUresult DRV(cuStreamAttachMemAsync)(CUstream handle, CUdeviceptr p, size_t n, unsigned flags) {
    CUstream s;
    (void)flags, (void)n;
    TRY(stream_resolve(handle, &s));
    struct host_range h;
    return host_find((void *)(uintptr_t)p, &h) && h.kind == HOST_MANAGED ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Nothing is ever advised or prefetched anywhere. */
static CUresult range_answer(void *out, size_t size, CUmem_range_attribute attribute) {
    switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
        if (size < sizeof(int)) return CUDA_ERROR_INVALID_VALUE;
        *(int *)out = 0;
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
        if (size < sizeof(int)) return CUDA_ERROR_INVALID_VALUE;
        *(int *)out = CU_DEVICE_INVALID;
        return CUDA_SUCCESS;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
        for (size_t i = 0; i < size / sizeof(int); i++) ((int *)out)[i] = CU_DEVICE_INVALID;
        return CUDA_SUCCESS;
    default: return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult DRV(cuMemRangeGetAttribute)(void *out, size_t size, CUmem_range_attribute attribute, CUdeviceptr p, size_t n) {
    if (!out || !size) return CUDA_ERROR_INVALID_VALUE;
    TRY(managed_range(p, n));
    return range_answer(out, size, attribute);
}

CUresult DRV(cuMemRangeGetAttributes)(void **out, size_t *sizes, CUmem_range_attribute *attributes, size_t count, CUdeviceptr p, size_t n) {
    if (!out || !sizes || !attributes || !count) return CUDA_ERROR_INVALID_VALUE;
    TRY(managed_range(p, n));
    for (size_t i = 0; i < count; i++) TRY(range_answer(out[i], sizes[i], attributes[i]));
    return CUDA_SUCCESS;
}
