/* context_settings.c: what a program may set of a context: limits, preferences of caches and of shared memory. It is remembered and
 * answered again, and changes nothing here. */
#include "sim.h"

CUresult DRV(cuCtxSetLimit)(CUlimit limit, size_t value) {
    CUcontext c;
    if (limit >= CU_LIMIT_MAX) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    if (limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE) return CUDA_ERROR_UNSUPPORTED_LIMIT;
    c->limits[limit] = value;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetLimit)(size_t *out, CUlimit limit) {
    CUcontext c;
    if (!out || limit >= CU_LIMIT_MAX) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    if (limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE) return CUDA_ERROR_UNSUPPORTED_LIMIT;
    *out = c->limits[limit];
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetCacheConfig)(CUfunc_cache *out) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = (CUfunc_cache)c->cache_config;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxSetCacheConfig)(CUfunc_cache config) {
    CUcontext c;
    if (config > CU_FUNC_CACHE_PREFER_EQUAL) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    c->cache_config = (int)config;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetSharedMemConfig)(CUsharedconfig *out) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = (CUsharedconfig)c->shared_config;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxSetSharedMemConfig)(CUsharedconfig config) {
    CUcontext c;
    TRY(context_current(&c));
    c->shared_config = (int)config;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxGetStreamPriorityRange)(int *least, int *greatest) {
    CUcontext c;
    TRY(context_current(&c));
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxResetPersistingL2Cache)(void) {
    CUcontext c;
    return context_current(&c);
}

CUresult DRV(cuCtxGetExecAffinity)(CUexecAffinityParam *out, CUexecAffinityType type) {
    (void)type;
    return out ? CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY : CUDA_ERROR_INVALID_VALUE;
}
