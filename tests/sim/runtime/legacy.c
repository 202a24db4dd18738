/* legacy.c: old names that still exist: the cudaThread functions of 12.x, which are cudaDevice functions by another name, and
 * the shared memory bank size, a setting that today's devices ignore. */
#include "runtime.h"

#if CUDART_VERSION < 13000
API_CTX(cudaThreadSynchronize, (void), ()) { return rt(DRV(cuCtxSynchronize)()); }
API_CTX(cudaThreadSetLimit, (enum cudaLimit limit, size_t value), (limit, value)) { return rt(DRV(cuCtxSetLimit)((CUlimit)limit, value)); }
API_CTX(cudaThreadGetLimit, (size_t *value, enum cudaLimit limit), (value, limit)) { return rt(DRV(cuCtxGetLimit)(value, (CUlimit)limit)); }
API_CTX(cudaThreadGetCacheConfig, (enum cudaFuncCache *config), (config)) { return rt(DRV(cuCtxGetCacheConfig)((CUfunc_cache *)config)); }
API_CTX(cudaThreadSetCacheConfig, (enum cudaFuncCache config), (config)) { return rt(DRV(cuCtxSetCacheConfig)((CUfunc_cache)config)); }
cudaError_t cudaThreadExit(void) { return rt_reset_device(); }
#endif

API_CTX(cudaDeviceGetSharedMemConfig, (enum cudaSharedMemConfig *config), (config))
{
    NEED(config);
    *config = cudaSharedMemBankSizeFourByte;
    return cudaSuccess;
}
API_CTX(cudaDeviceSetSharedMemConfig, (enum cudaSharedMemConfig config), (config))
{
    NEED((unsigned)config <= cudaSharedMemBankSizeEightByte);
    return cudaSuccess;
}
API_CTX(cudaFuncSetSharedMemConfig, (const void *function, enum cudaSharedMemConfig config), (function, config))
{
    CUkernel kernel;
    NEED((unsigned)config <= cudaSharedMemBankSizeEightByte);
    return rt_kernel(function, &kernel);
}
API_CTX(cudaDeviceFlushGPUDirectRDMAWrites, (enum cudaFlushGPUDirectRDMAWritesTarget target, enum cudaFlushGPUDirectRDMAWritesScope scope),
        (target, scope))
{
    return rt(DRV(cuFlushGPUDirectRDMAWrites)((CUflushGPUDirectRDMAWritesTarget)target, (CUflushGPUDirectRDMAWritesScope)scope));
}
