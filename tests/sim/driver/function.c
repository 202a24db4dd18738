/* function.c: what functions and kernels say about themselves, and occupancy.
 * The figures are plausible, not computed: nothing is known about the code. */
#include "module.h"

#define FUNCTION_OF(handle) function_of(handle); if (!f) return CUDA_ERROR_INVALID_HANDLE

CUresult DRV(cuFuncGetAttribute)(int *out, CUfunction_attribute attribute, CUfunction handle) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    if (!out || attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
    *out = f->attribute[attribute];
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncSetAttribute)(CUfunction handle, CUfunction_attribute attribute, int value) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    if (attribute < CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || attribute >= CU_FUNC_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && (value < 0 || value > 232448)) return CUDA_ERROR_INVALID_VALUE;
    f->attribute[attribute] = value;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncSetCacheConfig)(CUfunction handle, CUfunc_cache config) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)config, (void)f;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncSetSharedMemConfig)(CUfunction handle, CUsharedconfig config) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)config, (void)f;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncGetModule)(CUmodule *out, CUfunction handle) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = f->module;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncGetName)(const char **out, CUfunction handle) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = f->name;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncGetParamInfo)(CUfunction handle, size_t index, size_t *offset, size_t *size) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    if (!offset || f->param_count < 0 || index >= (size_t)f->param_count) return CUDA_ERROR_INVALID_VALUE;
    *offset = f->offset[index];
    if (size) *size = f->size[index];
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncIsLoaded)(CUfunctionLoadingState *out, CUfunction handle) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)f;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = CU_FUNCTION_LOADING_STATE_LOADED;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFuncLoad)(CUfunction handle) { return function_of(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }

/* ---- kernels: the same objects */
CUresult DRV(cuKernelGetFunction)(CUfunction *out, CUkernel kernel) {
    CUcontext c;
    struct CUfunc_st *f = FUNCTION_OF(kernel);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = f;
    return CUDA_SUCCESS;
}

CUresult DRV(cuKernelGetLibrary)(CUlibrary *out, CUkernel kernel) {
    struct CUfunc_st *f = FUNCTION_OF(kernel);
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = f->module->library;
    return CUDA_SUCCESS;
}

CUresult DRV(cuKernelGetName)(const char **out, CUkernel kernel) { return DRV(cuFuncGetName)(out, (CUfunction)kernel); }

CUresult DRV(cuKernelGetParamInfo)(CUkernel kernel, size_t index, size_t *offset, size_t *size) {
    return DRV(cuFuncGetParamInfo)((CUfunction)kernel, index, offset, size);
}

CUresult DRV(cuKernelGetAttribute)(int *out, CUfunction_attribute attribute, CUkernel kernel, CUdevice d) {
    if (!device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    return DRV(cuFuncGetAttribute)(out, attribute, (CUfunction)kernel);
}

CUresult DRV(cuKernelSetAttribute)(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice d) {
    if (!device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    return DRV(cuFuncSetAttribute)((CUfunction)kernel, attribute, value);
}

CUresult DRV(cuKernelSetCacheConfig)(CUkernel kernel, CUfunc_cache config, CUdevice d) {
    if (!device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    return DRV(cuFuncSetCacheConfig)((CUfunction)kernel, config);
}

/* ---- occupancy: threads, blocks and shared memory bound it; registers are taken as 32 a thread */
static int blocks_per_multiprocessor(int block_size, size_t dynamic_shared) {
    int threads = (block_size + 31) / 32 * 32;
    int by_threads = 2048 / threads;
    int by_shared = (int)(233472 / (dynamic_shared + 1024));
    return MIN(MIN(by_threads, 32), by_shared);
}

CUresult DRV(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)(int *out, CUfunction handle, int block_size, size_t shared, unsigned flags) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)flags, (void)f;
    if (!out || block_size <= 0) return CUDA_ERROR_INVALID_VALUE;
    *out = block_size > 1024 ? 0 : blocks_per_multiprocessor(block_size, shared);
    return CUDA_SUCCESS;
}

CUresult DRV(cuOccupancyMaxActiveBlocksPerMultiprocessor)(int *out, CUfunction handle, int block_size, size_t shared) {
    return DRV(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)(out, handle, block_size, shared, 0);
}

CUresult DRV(cuOccupancyMaxPotentialBlockSizeWithFlags)(int *grid, int *block, CUfunction handle, CUoccupancyB2DSize shared_of,
                                                        size_t shared, int limit, unsigned flags) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)flags, (void)f;
    if (!grid || !block) return CUDA_ERROR_INVALID_VALUE;
    *block = limit > 0 && limit < 1024 ? MAX(limit / 32 * 32, 32) : 1024;
    if (shared_of) shared = shared_of(*block);
    *grid = 132 * MAX(blocks_per_multiprocessor(*block, shared), 1);
    return CUDA_SUCCESS;
}

CUresult DRV(cuOccupancyMaxPotentialBlockSize)(int *grid, int *block, CUfunction handle, CUoccupancyB2DSize shared_of, size_t shared, int limit) {
    return DRV(cuOccupancyMaxPotentialBlockSizeWithFlags)(grid, block, handle, shared_of, shared, limit, 0);
}

CUresult DRV(cuOccupancyAvailableDynamicSMemPerBlock)(size_t *out, CUfunction handle, int blocks, int block_size) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)f;
    if (!out || blocks <= 0 || block_size <= 0) return CUDA_ERROR_INVALID_VALUE;
    *out = MIN((size_t)(233472 / blocks - 1024), (size_t)49152);
    return CUDA_SUCCESS;
}

CUresult DRV(cuOccupancyMaxPotentialClusterSize)(int *out, CUfunction handle, const CUlaunchConfig *config) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)f;
    if (!out || !config) return CUDA_ERROR_INVALID_VALUE;
    *out = 8;
    return CUDA_SUCCESS;
}

CUresult DRV(cuOccupancyMaxActiveClusters)(int *out, CUfunction handle, const CUlaunchConfig *config) {
    struct CUfunc_st *f = FUNCTION_OF(handle);
    (void)f;
    if (!out || !config) return CUDA_ERROR_INVALID_VALUE;
    *out = 66;
    return CUDA_SUCCESS;
}
