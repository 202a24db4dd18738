/* memory.c: linear device memory, pinned host memory, managed memory, and what a pointer is.
 * Size 0 succeeds with NULL, freeing NULL succeeds; everything else is the driver's answer. */
#include "runtime.h"

API_CTX(cudaMalloc, (void **pointer, size_t size), (pointer, size))
{
    NEED(pointer);
    *pointer = NULL;
    return size ? rt(DRV(cuMemAlloc)((CUdeviceptr *)pointer, size)) : cudaSuccess;
}

API_CTX(cudaFree, (void *pointer), (pointer)) /* cudaFree(0) creates the context: API_CTX has done so */
{
    return pointer ? rt(DRV(cuMemFree)((CUdeviceptr)pointer)) : cudaSuccess;
}

static cudaError_t malloc_pitch(void **pointer, size_t *pitch, size_t width, size_t rows)
{
    *pointer = NULL;
    *pitch = 0;
    return width && rows ? rt(DRV(cuMemAllocPitch)((CUdeviceptr *)pointer, pitch, width, rows, 4)) : cudaSuccess;
}

API_CTX(cudaMallocPitch, (void **pointer, size_t *pitch, size_t width, size_t height), (pointer, pitch, width, height))
{
    NEED(pointer && pitch);
    return malloc_pitch(pointer, pitch, width, height);
}

API_CTX(cudaMalloc3D, (struct cudaPitchedPtr *p, struct cudaExtent extent), (p, extent))
{
    NEED(p);
    *p = (struct cudaPitchedPtr){ .xsize = extent.width, .ysize = extent.height };
    return malloc_pitch(&p->ptr, &p->pitch, extent.width, extent.height * extent.depth);
}

API_CTX(cudaMallocManaged, (void **pointer, size_t size, unsigned flags), (pointer, size, flags))
{
    NEED(pointer && size && (flags == cudaMemAttachGlobal || flags == cudaMemAttachHost));
    return rt(DRV(cuMemAllocManaged)((CUdeviceptr *)pointer, size, flags));
}

static cudaError_t host_alloc(void **pointer, size_t size, unsigned flags)
{
    NEED(pointer);
    *pointer = NULL;
    return size ? rt(DRV(cuMemHostAlloc)(pointer, size, flags)) : cudaSuccess;
}
API_CTX(cudaHostAlloc, (void **pointer, size_t size, unsigned flags), (pointer, size, flags))
{
    NEED(!(flags & ~(unsigned)(cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined)));
    return host_alloc(pointer, size, flags);
}
API_CTX(cudaMallocHost, (void **pointer, size_t size), (pointer, size))
{
    return host_alloc(pointer, size, cudaHostAllocPortable | cudaHostAllocMapped);
}
API_CTX(cudaFreeHost, (void *pointer), (pointer))
{
    return pointer ? rt(DRV(cuMemFreeHost)(pointer)) : cudaSuccess;
}
API_CTX(cudaHostRegister, (void *pointer, size_t size, unsigned flags), (pointer, size, flags))
{
    NEED(pointer && size);
    return rt(DRV(cuMemHostRegister)(pointer, size, flags));
}
API_CTX(cudaHostUnregister, (void *pointer), (pointer))
{
    NEED(pointer);
    return rt(DRV(cuMemHostUnregister)(pointer));
}
API_CTX(cudaHostGetDevicePointer, (void **device, void *host, unsigned flags), (device, host, flags))
{
    NEED(device && host);
    return rt(DRV(cuMemHostGetDevicePointer)((CUdeviceptr *)device, host, flags));
}
API_CTX(cudaHostGetFlags, (unsigned *flags, void *host), (flags, host))
{
    NEED(flags && host);
    return rt(DRV(cuMemHostGetFlags)(flags, host));
}

API_CTX(cudaMemGetInfo, (size_t *available, size_t *total), (available, total))
{
    return rt(DRV(cuMemGetInfo)(available, total));
}

static enum cudaMemoryType memory_type(unsigned type, bool managed)
{
    if (managed)
        return cudaMemoryTypeManaged;
    return type == CU_MEMORYTYPE_HOST ? cudaMemoryTypeHost : type ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
}

/* An address that CUDA does not know is no error: it is unregistered host memory. */
API_CTX(cudaPointerGetAttributes, (struct cudaPointerAttributes *out, const void *pointer), (out, pointer))
{
    unsigned type = 0, managed = 0;
    int ordinal = cudaInvalidDeviceId;
    CUdeviceptr device = 0;
    void *host = NULL;
    CUpointer_attribute which[] = { CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_IS_MANAGED,
        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_HOST_POINTER };
    void *data[] = { &type, &managed, &ordinal, &device, &host };
    NEED(out);
    TRY(rt(DRV(cuPointerGetAttributes)(5, which, data, (CUdeviceptr)pointer)));
    memset(out, 0, sizeof *out);
    out->type = memory_type(type, managed & 1);
    bool known = out->type != cudaMemoryTypeUnregistered;
    out->device = known ? ordinal : cudaInvalidDeviceId;
    out->devicePointer = known ? (void *)device : NULL;
    out->hostPointer = known ? host : (void *)pointer;
    return cudaSuccess;
}

/* --- managed memory hints */
SAME_LAYOUT(struct cudaMemLocation, CUmemLocation);

static CUmemLocation location_of(int device)
{
    return device == cudaCpuDeviceId ? (CUmemLocation){ .type = CU_MEM_LOCATION_TYPE_HOST }
                                     : (CUmemLocation){ .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device };
}
static CUmemLocation location_from(struct cudaMemLocation from)
{
    CUmemLocation to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static cudaError_t advise(const void *pointer, size_t size, enum cudaMemoryAdvise advice, CUmemLocation where)
{
    return rt(DRV(cuMemAdvise)((CUdeviceptr)pointer, size, (CUmem_advise)advice, where));
}
static cudaError_t prefetch(const void *pointer, size_t size, CUmemLocation where, unsigned flags, CUstream stream)
{
    return rt(DRV(cuMemPrefetchAsync)((CUdeviceptr)pointer, size, where, flags, stream));
}
#if CUDART_VERSION < 13000
API_CTX(cudaMemAdvise, (const void *p, size_t n, enum cudaMemoryAdvise advice, int device), (p, n, advice, device))
{
    return advise(p, n, advice, location_of(device));
}
STREAM_API(cudaMemPrefetchAsync, (const void *p, size_t n, int device, cudaStream_t stream), (p, n, device, stream))
{
    return prefetch(p, n, location_of(device), 0, stream);
}
#define ADVISE cudaMemAdvise_v2
#define PREFETCH cudaMemPrefetchAsync_v2
#else
#define ADVISE cudaMemAdvise
#define PREFETCH cudaMemPrefetchAsync
#endif
#define API_CTX_EXPANDED(name, params, args) API_CTX(name, params, args)
#define STREAM_API_EXPANDED(name, params, args) STREAM_API(name, params, args)
API_CTX_EXPANDED(ADVISE, (const void *p, size_t n, enum cudaMemoryAdvise advice, struct cudaMemLocation where), (p, n, advice, where))
{
    return advise(p, n, advice, location_from(where));
}
STREAM_API_EXPANDED(PREFETCH, (const void *p, size_t n, struct cudaMemLocation where, unsigned flags, cudaStream_t stream),
                    (p, n, where, flags, stream))
{
    (void)location_of;
    return prefetch(p, n, location_from(where), flags, stream);
}
API_CTX(cudaMemRangeGetAttribute, (void *data, size_t size, enum cudaMemRangeAttribute which, const void *p, size_t n),
        (data, size, which, p, n))
{
    return rt(DRV(cuMemRangeGetAttribute)(data, size, (CUmem_range_attribute)which, (CUdeviceptr)p, n));
}
API_CTX(cudaMemRangeGetAttributes, (void **data, size_t *sizes, enum cudaMemRangeAttribute *which, size_t count, const void *p, size_t n),
        (data, sizes, which, count, p, n))
{
    return rt(DRV(cuMemRangeGetAttributes)(data, sizes, (CUmem_range_attribute *)which, count, (CUdeviceptr)p, n));
}
