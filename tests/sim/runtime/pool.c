/* pool.c: stream-ordered allocation, memory pools, and handles that other processes open. */
#include "runtime.h"
SAME_LAYOUT(struct cudaMemPoolProps, CUmemPoolProps);
SAME_LAYOUT(struct cudaMemAccessDesc, CUmemAccessDesc);
SAME_LAYOUT(struct cudaMemLocation, CUmemLocation);
SAME_LAYOUT(struct cudaMemPoolPtrExportData, CUmemPoolPtrExportData);
SAME_LAYOUT(cudaIpcMemHandle_t, CUipcMemHandle);
SAME_LAYOUT(cudaIpcEventHandle_t, CUipcEventHandle);

STREAM_API(cudaMallocAsync, (void **pointer, size_t size, cudaStream_t stream), (pointer, size, stream))
{
    NEED(pointer);
    *pointer = NULL;
    return size ? rt(DRV(cuMemAllocAsync)((CUdeviceptr *)pointer, size, stream)) : cudaSuccess;
}
STREAM_API(cudaMallocFromPoolAsync, (void **pointer, size_t size, cudaMemPool_t pool, cudaStream_t stream), (pointer, size, pool, stream))
{
    NEED(pointer);
    *pointer = NULL;
    return size ? rt(DRV(cuMemAllocFromPoolAsync)((CUdeviceptr *)pointer, size, pool, stream)) : cudaSuccess;
}
STREAM_API(cudaFreeAsync, (void *pointer, cudaStream_t stream), (pointer, stream))
{
    return rt(DRV(cuMemFreeAsync)((CUdeviceptr)pointer, stream));
}

API(cudaDeviceGetDefaultMemPool, (cudaMemPool_t *pool, int device), (pool, device))
{
    NEED(pool);
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceGetDefaultMemPool)(pool, device));
}
API(cudaDeviceGetMemPool, (cudaMemPool_t *pool, int device), (pool, device))
{
    NEED(pool);
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceGetMemPool)(pool, device));
}
API(cudaDeviceSetMemPool, (int device, cudaMemPool_t pool), (device, pool))
{
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceSetMemPool)(device, pool));
}
#if CUDART_VERSION >= 13000
API(cudaMemGetDefaultMemPool, (cudaMemPool_t *pool, struct cudaMemLocation *where, enum cudaMemAllocationType type), (pool, where, type))
{
    return rt(DRV(cuMemGetDefaultMemPool)(pool, (CUmemLocation *)where, (CUmemAllocationType)type));
}
API(cudaMemGetMemPool, (cudaMemPool_t *pool, struct cudaMemLocation *where, enum cudaMemAllocationType type), (pool, where, type))
{
    return rt(DRV(cuMemGetMemPool)(pool, (CUmemLocation *)where, (CUmemAllocationType)type));
}
API(cudaMemSetMemPool, (struct cudaMemLocation *where, enum cudaMemAllocationType type, cudaMemPool_t pool), (where, type, pool))
{
    return rt(DRV(cuMemSetMemPool)((CUmemLocation *)where, (CUmemAllocationType)type, pool));
}
#endif
API(cudaMemPoolCreate, (cudaMemPool_t *pool, const struct cudaMemPoolProps *props), (pool, props))
{
    NEED(pool && props);
    return rt(DRV(cuMemPoolCreate)(pool, (const CUmemPoolProps *)props));
}
API(cudaMemPoolDestroy, (cudaMemPool_t pool), (pool)) { return rt(DRV(cuMemPoolDestroy)(pool)); }
API(cudaMemPoolTrimTo, (cudaMemPool_t pool, size_t keep), (pool, keep)) { return rt(DRV(cuMemPoolTrimTo)(pool, keep)); }
API(cudaMemPoolSetAttribute, (cudaMemPool_t pool, enum cudaMemPoolAttr which, void *value), (pool, which, value))
{
    NEED(value);
    return rt(DRV(cuMemPoolSetAttribute)(pool, (CUmemPool_attribute)which, value));
}
API(cudaMemPoolGetAttribute, (cudaMemPool_t pool, enum cudaMemPoolAttr which, void *value), (pool, which, value))
{
    NEED(value);
    return rt(DRV(cuMemPoolGetAttribute)(pool, (CUmemPool_attribute)which, value));
}
API(cudaMemPoolSetAccess, (cudaMemPool_t pool, const struct cudaMemAccessDesc *list, size_t count), (pool, list, count))
{
    return rt(DRV(cuMemPoolSetAccess)(pool, (const CUmemAccessDesc *)list, count));
}
API(cudaMemPoolGetAccess, (enum cudaMemAccessFlags *flags, cudaMemPool_t pool, struct cudaMemLocation *where), (flags, pool, where))
{
    NEED(flags && where);
    return rt(DRV(cuMemPoolGetAccess)((CUmemAccess_flags *)flags, pool, (CUmemLocation *)where));
}
API(cudaMemPoolExportToShareableHandle, (void *handle, cudaMemPool_t pool, enum cudaMemAllocationHandleType type, unsigned flags),
    (handle, pool, type, flags))
{
    return rt(DRV(cuMemPoolExportToShareableHandle)(handle, pool, (CUmemAllocationHandleType)type, flags));
}
API(cudaMemPoolImportFromShareableHandle, (cudaMemPool_t *pool, void *handle, enum cudaMemAllocationHandleType type, unsigned flags),
    (pool, handle, type, flags))
{
    return rt(DRV(cuMemPoolImportFromShareableHandle)(pool, handle, (CUmemAllocationHandleType)type, flags));
}
API(cudaMemPoolExportPointer, (struct cudaMemPoolPtrExportData *data, void *pointer), (data, pointer))
{
    NEED(data);
    return rt(DRV(cuMemPoolExportPointer)((CUmemPoolPtrExportData *)data, (CUdeviceptr)pointer));
}
API_CTX(cudaMemPoolImportPointer, (void **pointer, cudaMemPool_t pool, struct cudaMemPoolPtrExportData *data), (pointer, pool, data))
{
    NEED(pointer && data);
    return rt(DRV(cuMemPoolImportPointer)((CUdeviceptr *)pointer, pool, (CUmemPoolPtrExportData *)data));
}

/* --- handles for other processes */
API_CTX(cudaIpcGetMemHandle, (cudaIpcMemHandle_t *handle, void *pointer), (handle, pointer))
{
    NEED(handle);
    return rt(DRV(cuIpcGetMemHandle)((CUipcMemHandle *)handle, (CUdeviceptr)pointer));
}
API_CTX(cudaIpcOpenMemHandle, (void **pointer, cudaIpcMemHandle_t handle, unsigned flags), (pointer, handle, flags))
{
    CUipcMemHandle h;
    NEED(pointer);
    memcpy(&h, &handle, sizeof h);
    return rt(DRV(cuIpcOpenMemHandle)((CUdeviceptr *)pointer, h, flags));
}
API_CTX(cudaIpcCloseMemHandle, (void *pointer), (pointer)) { return rt(DRV(cuIpcCloseMemHandle)((CUdeviceptr)pointer)); }
API_CTX(cudaIpcGetEventHandle, (cudaIpcEventHandle_t *handle, cudaEvent_t event), (handle, event))
{
    NEED(handle);
    return rt(DRV(cuIpcGetEventHandle)((CUipcEventHandle *)handle, event));
}
API_CTX(cudaIpcOpenEventHandle, (cudaEvent_t *event, cudaIpcEventHandle_t handle), (event, handle))
{
    CUipcEventHandle h;
    NEED(event);
    memcpy(&h, &handle, sizeof h);
    return rt(DRV(cuIpcOpenEventHandle)(event, h));
}
