/* launch.c: launching kernels, and asking about them.
 * A *call configuration* is what stands between <<< and >>>: generated code pushes it, evaluates the arguments (which may
 * launch, so configurations nest), pops it and launches. */
#include "runtime.h"
#include "nvcc_interface.h"

struct configuration {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
};
enum { NESTING = 32 };
static _Thread_local struct configuration pushed[NESTING];
static _Thread_local int depth;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st *stream)
{
    if (depth == NESTING)
        return 1;
    pushed[depth++] = (struct configuration){ grid, block, shared, stream };
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    if (!depth)
        return rt_result(cudaErrorMissingConfiguration);
    struct configuration *top = &pushed[--depth];
    *grid = top->grid;
    *block = top->block;
    *shared = top->shared;
    *(cudaStream_t *)stream = top->stream;
    return cudaSuccess;
}

static cudaError_t check_shape(dim3 grid, dim3 block)
{
    bool empty = !grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z;
    bool large = (size_t)block.x * block.y * block.z > 1024 || block.z > 64 || grid.y > 65535 || grid.z > 65535;
    return empty || large ? cudaErrorInvalidConfiguration : cudaSuccess;
}

static cudaError_t launch(CUkernel kernel, dim3 grid, dim3 block, void **args, size_t shared, CUstream stream)
{
    TRY(check_shape(grid, block));
    return rt(DRV(cuLaunchKernel)((CUfunction)kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                  (unsigned)shared, stream, args, NULL));
}

STREAM_API(__cudaLaunchKernel, (cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream),
           (kernel, grid, block, args, shared, stream))
{
    if (!kernel)
        return cudaErrorInvalidDeviceFunction;
    return launch(kernel, grid, block, args, shared, stream);
}

STREAM_API(cudaLaunchKernel, (const void *function, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream),
           (function, grid, block, args, shared, stream))
{
    CUkernel kernel;
    TRY(rt_kernel(function, &kernel));
    return launch(kernel, grid, block, args, shared, stream);
}

STREAM_API(cudaLaunchCooperativeKernel, (const void *function, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream),
           (function, grid, block, args, shared, stream))
{
    CUkernel kernel;
    TRY(rt_kernel(function, &kernel));
    TRY(check_shape(grid, block));
    return rt(DRV(cuLaunchCooperativeKernel)((CUfunction)kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                             (unsigned)shared, stream, args));
}

/* --- launches with attributes */
SAME_LAYOUT(cudaLaunchAttribute, CUlaunchAttribute);

static CUlaunchConfig driver_config(const cudaLaunchConfig_t *c, CUstream stream)
{
    return (CUlaunchConfig){ .gridDimX = c->gridDim.x, .gridDimY = c->gridDim.y, .gridDimZ = c->gridDim.z,
        .blockDimX = c->blockDim.x, .blockDimY = c->blockDim.y, .blockDimZ = c->blockDim.z,
        .sharedMemBytes = (unsigned)c->dynamicSmemBytes, .hStream = stream,
        .attrs = (CUlaunchAttribute *)c->attrs, .numAttrs = c->numAttrs };
}

static cudaError_t launch_with(const cudaLaunchConfig_t *config, const void *function, void **args, bool per_thread)
{
    CUkernel kernel;
    NEED(config);
    CUlaunchConfig c = driver_config(config, config->stream || !per_thread ? config->stream : cudaStreamPerThread);
    TRY(rt_kernel(function, &kernel));
    TRY(check_shape(config->gridDim, config->blockDim));
    return rt(DRV(cuLaunchKernelEx)(&c, (CUfunction)kernel, args, NULL));
}

API_CTX(cudaLaunchKernelExC, (const cudaLaunchConfig_t *config, const void *function, void **args), (config, function, args))
{
    return launch_with(config, function, args, false);
}
cudaError_t cudaLaunchKernelExC_ptsz(const cudaLaunchConfig_t *, const void *, void **);
API_CTX(cudaLaunchKernelExC_ptsz, (const cudaLaunchConfig_t *config, const void *function, void **args), (config, function, args))
{
    return launch_with(config, function, args, true);
}

/* --- attributes. A kernel's attributes are kept by device; the runtime means the current one. */
static int attribute(CUkernel kernel, CUfunction_attribute which, int device)
{
    int value = 0;
    DRV(cuKernelGetAttribute)(&value, which, kernel, device);
    return value;
}

API_CTX(cudaFuncGetAttributes, (struct cudaFuncAttributes *out, const void *function), (out, function))
{
    CUkernel kernel;
    int device;
    NEED(out);
    TRY(rt_kernel(function, &kernel));
    TRY(rt_current_device(&device));
    memset(out, 0, sizeof *out);
#define ROW(field, which) out->field = (typeof(out->field))attribute(kernel, CU_FUNC_ATTRIBUTE_##which, device);
    ROW(sharedSizeBytes, SHARED_SIZE_BYTES) ROW(constSizeBytes, CONST_SIZE_BYTES) ROW(localSizeBytes, LOCAL_SIZE_BYTES)
    ROW(maxThreadsPerBlock, MAX_THREADS_PER_BLOCK) ROW(numRegs, NUM_REGS) ROW(ptxVersion, PTX_VERSION)
    ROW(binaryVersion, BINARY_VERSION) ROW(cacheModeCA, CACHE_MODE_CA)
    ROW(maxDynamicSharedSizeBytes, MAX_DYNAMIC_SHARED_SIZE_BYTES)
    ROW(preferredShmemCarveout, PREFERRED_SHARED_MEMORY_CARVEOUT) ROW(clusterDimMustBeSet, CLUSTER_SIZE_MUST_BE_SET)
    ROW(requiredClusterWidth, REQUIRED_CLUSTER_WIDTH) ROW(requiredClusterHeight, REQUIRED_CLUSTER_HEIGHT)
    ROW(requiredClusterDepth, REQUIRED_CLUSTER_DEPTH)
    ROW(clusterSchedulingPolicyPreference, CLUSTER_SCHEDULING_POLICY_PREFERENCE)
    ROW(nonPortableClusterSizeAllowed, NON_PORTABLE_CLUSTER_SIZE_ALLOWED)
#undef ROW
    return cudaSuccess;
}

API_CTX(cudaFuncSetAttribute, (const void *function, enum cudaFuncAttribute which, int value), (function, which, value))
{
    CUkernel kernel;
    int device;
    TRY(rt_kernel(function, &kernel));
    TRY(rt_current_device(&device));
    return rt(DRV(cuKernelSetAttribute)((CUfunction_attribute)which, value, kernel, device));
}
API(cudaKernelSetAttributeForDevice, (cudaKernel_t kernel, enum cudaFuncAttribute which, int value, int device),
    (kernel, which, value, device))
{
    TRY(rt_check_device(device));
    return rt(DRV(cuKernelSetAttribute)((CUfunction_attribute)which, value, kernel, device));
}
API_CTX(cudaFuncSetCacheConfig, (const void *function, enum cudaFuncCache config), (function, config))
{
    CUkernel kernel;
    int device;
    TRY(rt_kernel(function, &kernel));
    TRY(rt_current_device(&device));
    return rt(DRV(cuKernelSetCacheConfig)(kernel, (CUfunc_cache)config, device));
}
API_CTX(cudaFuncGetName, (const char **name, const void *function), (name, function))
{
    CUkernel kernel;
    NEED(name);
    TRY(rt_kernel(function, &kernel));
    return rt(DRV(cuKernelGetName)(name, kernel));
}
API_CTX(cudaFuncGetParamInfo, (const void *function, size_t index, size_t *offset, size_t *size), (function, index, offset, size))
{
    CUkernel kernel;
    TRY(rt_kernel(function, &kernel));
    return rt(DRV(cuKernelGetParamInfo)(kernel, index, offset, size));
}

/* --- occupancy */
static cudaError_t active_blocks(int *blocks, const void *function, int block_size, size_t shared, unsigned flags)
{
    CUkernel kernel;
    NEED(blocks);
    TRY(rt_kernel(function, &kernel));
    return rt(DRV(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)(blocks, (CUfunction)kernel, block_size, shared, flags));
}
API_CTX(cudaOccupancyMaxActiveBlocksPerMultiprocessor, (int *blocks, const void *function, int block_size, size_t shared),
        (blocks, function, block_size, shared))
{
    return active_blocks(blocks, function, block_size, shared, 0);
}
API_CTX(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, (int *blocks, const void *function, int block_size, size_t shared,
        unsigned flags), (blocks, function, block_size, shared, flags))
{
    return active_blocks(blocks, function, block_size, shared, flags);
}
API_CTX(cudaOccupancyAvailableDynamicSMemPerBlock, (size_t *size, const void *function, int blocks, int block_size),
        (size, function, blocks, block_size))
{
    CUkernel kernel;
    NEED(size);
    TRY(rt_kernel(function, &kernel));
    return rt(DRV(cuOccupancyAvailableDynamicSMemPerBlock)(size, (CUfunction)kernel, blocks, block_size));
}
API_CTX(cudaOccupancyMaxPotentialClusterSize, (int *size, const void *function, const cudaLaunchConfig_t *config), (size, function, config))
{
    CUkernel kernel;
    NEED(size && config);
    CUlaunchConfig c = driver_config(config, config->stream);
    TRY(rt_kernel(function, &kernel));
    return rt(DRV(cuOccupancyMaxPotentialClusterSize)(size, (CUfunction)kernel, &c));
}
API_CTX(cudaOccupancyMaxActiveClusters, (int *count, const void *function, const cudaLaunchConfig_t *config), (count, function, config))
{
    CUkernel kernel;
    NEED(count && config);
    CUlaunchConfig c = driver_config(config, config->stream);
    TRY(rt_kernel(function, &kernel));
    return rt(DRV(cuOccupancyMaxActiveClusters)(count, (CUfunction)kernel, &c));
}
