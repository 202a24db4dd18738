/* driver.h: the real CUDA driver, as the device layer calls it.
 * A *driver* is a table of the few public functions that the pool itself needs. preload/ fills it once, with the
 * functions that come after us, so nothing here is ever a hook. Functions newer than the installed driver are NULL. */
#ifndef COPPICE_DEVICE_DRIVER_H
#define COPPICE_DEVICE_DRIVER_H
#define __CUDA_API_VERSION_INTERNAL /* every ABI variant under its own name, none under a macro */
#include <cuda.h>
#undef __CUDA_API_VERSION_INTERNAL
#include <stdbool.h>

#define DRIVER_CALLS(X) \
    X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemGetInfo_v2) X(cuMemAllocPitch_v2) X(cuMemGetAddressRange_v2) X(cuMemsetD8Async) \
    X(cuCtxGetCurrent) X(cuCtxSetCurrent) X(cuCtxPushCurrent_v2) X(cuCtxPopCurrent_v2) X(cuCtxGetDevice) X(cuCtxSynchronize) \
    X(cuCtxRecordEvent) X(cuEventCreate) X(cuEventRecord) X(cuEventQuery) X(cuEventDestroy_v2) \
    X(cuStreamGetCtx) X(cuStreamIsCapturing) X(cuStreamCreate) X(cuStreamSynchronize) X(cuThreadExchangeStreamCaptureMode) \
    X(cuDeviceGetName) X(cuDeviceGetUuid_v2) X(cuDeviceTotalMem_v2) X(cuDevicePrimaryCtxGetState) \
    X(cuMemHostAlloc) X(cuMemAllocHost_v2) X(cuMemFreeHost) X(cuDeviceGetDefaultMemPool) X(cuMemPoolTrimTo) X(cuMemPoolGetAttribute) X(cuDeviceGraphMemTrim) X(cuDeviceGetGraphMemAttribute) \
    X(cuDeviceGetAttribute) X(cuMemAddressReserve) X(cuMemAddressFree) X(cuMemCreate) X(cuMemRelease) X(cuMemMap) X(cuMemUnmap) \
    X(cuMemSetAccess) X(cuMemGetAllocationGranularity) X(cuMemGetAccess) X(cuMemExportToShareableHandle) X(cuMemImportFromShareableHandle) \
    X(cuMemGetAllocationPropertiesFromHandle) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyDtoDAsync_v2) X(cuPointerGetAttribute)

struct driver {
#define X(name) __typeof__(&name) name;
    DRIVER_CALLS(X)
#undef X
};
extern struct driver driver;

/* Is the table filled? Written once, before any pool exists. */
bool driver_ready(void);
/* Fills the table; `find` returns the real function of that exported name, or NULL. Call once, under the caller's lock. */
void driver_fill(void *(*find)(const char *name));
/* Does the driver answer everything in that context so from now on, because a kernel or the device failed? */
bool driver_error_is_sticky(CUresult answer);
/* The same of a call of our own, for which a dead context or handle is no mistake of the program's. */
bool driver_error_lasts(CUresult answer);
#endif
