/* device.c: what a program asks about the devices. Every number is the driver's: cudaDeviceProp is filled from the
 * table below, one row a field that is a driver attribute. The struct differs between the 12.x and 13.x headers. */
#include "runtime.h"

/* R(field, attribute without its prefix CU_DEVICE_ATTRIBUTE_) */
#define PROPERTY_TABLE(R) \
    R(sharedMemPerBlock, MAX_SHARED_MEMORY_PER_BLOCK) R(regsPerBlock, MAX_REGISTERS_PER_BLOCK) R(warpSize, WARP_SIZE) \
    R(memPitch, MAX_PITCH) R(maxThreadsPerBlock, MAX_THREADS_PER_BLOCK) R(maxThreadsDim[0], MAX_BLOCK_DIM_X) \
    R(maxThreadsDim[1], MAX_BLOCK_DIM_Y) R(maxThreadsDim[2], MAX_BLOCK_DIM_Z) R(maxGridSize[0], MAX_GRID_DIM_X) \
    R(maxGridSize[1], MAX_GRID_DIM_Y) R(maxGridSize[2], MAX_GRID_DIM_Z) R(totalConstMem, TOTAL_CONSTANT_MEMORY) \
    R(major, COMPUTE_CAPABILITY_MAJOR) R(minor, COMPUTE_CAPABILITY_MINOR) R(textureAlignment, TEXTURE_ALIGNMENT) \
    R(texturePitchAlignment, TEXTURE_PITCH_ALIGNMENT) R(multiProcessorCount, MULTIPROCESSOR_COUNT) \
    R(integrated, INTEGRATED) R(canMapHostMemory, CAN_MAP_HOST_MEMORY) R(maxTexture1D, MAXIMUM_TEXTURE1D_WIDTH) \
    R(maxTexture2D[0], MAXIMUM_TEXTURE2D_WIDTH) R(maxTexture2D[1], MAXIMUM_TEXTURE2D_HEIGHT) \
    R(maxTexture3D[0], MAXIMUM_TEXTURE3D_WIDTH) R(maxTexture3D[1], MAXIMUM_TEXTURE3D_HEIGHT) \
    R(maxTexture3D[2], MAXIMUM_TEXTURE3D_DEPTH) R(surfaceAlignment, SURFACE_ALIGNMENT) \
    R(concurrentKernels, CONCURRENT_KERNELS) R(ECCEnabled, ECC_ENABLED) R(pciBusID, PCI_BUS_ID) \
    R(pciDeviceID, PCI_DEVICE_ID) R(pciDomainID, PCI_DOMAIN_ID) R(tccDriver, TCC_DRIVER) \
    R(asyncEngineCount, ASYNC_ENGINE_COUNT) R(unifiedAddressing, UNIFIED_ADDRESSING) \
    R(memoryBusWidth, GLOBAL_MEMORY_BUS_WIDTH) R(l2CacheSize, L2_CACHE_SIZE) \
    R(persistingL2CacheMaxSize, MAX_PERSISTING_L2_CACHE_SIZE) R(maxThreadsPerMultiProcessor, MAX_THREADS_PER_MULTIPROCESSOR) \
    R(streamPrioritiesSupported, STREAM_PRIORITIES_SUPPORTED) R(globalL1CacheSupported, GLOBAL_L1_CACHE_SUPPORTED) \
    R(localL1CacheSupported, LOCAL_L1_CACHE_SUPPORTED) R(sharedMemPerMultiprocessor, MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) \
    R(regsPerMultiprocessor, MAX_REGISTERS_PER_MULTIPROCESSOR) R(managedMemory, MANAGED_MEMORY) \
    R(isMultiGpuBoard, MULTI_GPU_BOARD) R(multiGpuBoardGroupID, MULTI_GPU_BOARD_GROUP_ID) \
    R(hostNativeAtomicSupported, HOST_NATIVE_ATOMIC_SUPPORTED) R(pageableMemoryAccess, PAGEABLE_MEMORY_ACCESS) \
    R(concurrentManagedAccess, CONCURRENT_MANAGED_ACCESS) R(computePreemptionSupported, COMPUTE_PREEMPTION_SUPPORTED) \
    R(canUseHostPointerForRegisteredMem, CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM) R(cooperativeLaunch, COOPERATIVE_LAUNCH) \
    R(sharedMemPerBlockOptin, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) \
    R(pageableMemoryAccessUsesHostPageTables, PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES) \
    R(directManagedMemAccessFromHost, DIRECT_MANAGED_MEM_ACCESS_FROM_HOST) \
    R(maxBlocksPerMultiProcessor, MAX_BLOCKS_PER_MULTIPROCESSOR) R(accessPolicyMaxWindowSize, MAX_ACCESS_POLICY_WINDOW_SIZE) \
    R(reservedSharedMemPerBlock, RESERVED_SHARED_MEMORY_PER_BLOCK) R(hostRegisterSupported, HOST_REGISTER_SUPPORTED) \
    R(sparseCudaArraySupported, SPARSE_CUDA_ARRAY_SUPPORTED) \
    R(hostRegisterReadOnlySupported, READ_ONLY_HOST_REGISTER_SUPPORTED) \
    R(timelineSemaphoreInteropSupported, TIMELINE_SEMAPHORE_INTEROP_SUPPORTED) R(memoryPoolsSupported, MEMORY_POOLS_SUPPORTED) \
    R(gpuDirectRDMASupported, GPU_DIRECT_RDMA_SUPPORTED) \
    R(gpuDirectRDMAFlushWritesOptions, GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS) \
    R(gpuDirectRDMAWritesOrdering, GPU_DIRECT_RDMA_WRITES_ORDERING) \
    R(memoryPoolSupportedHandleTypes, MEMPOOL_SUPPORTED_HANDLE_TYPES) R(clusterLaunch, CLUSTER_LAUNCH) \
    R(ipcEventSupported, IPC_EVENT_SUPPORTED) R(unifiedFunctionPointers, UNIFIED_FUNCTION_POINTERS)
#if CUDART_VERSION < 13000
#define PROPERTY_TABLE_VERSION(R) \
    R(clockRate, CLOCK_RATE) R(memoryClockRate, MEMORY_CLOCK_RATE) R(deviceOverlap, GPU_OVERLAP) \
    R(kernelExecTimeoutEnabled, KERNEL_EXEC_TIMEOUT) R(computeMode, COMPUTE_MODE) \
    R(singleToDoublePrecisionPerfRatio, SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO)
#else
#define PROPERTY_TABLE_VERSION(R) \
    R(deviceNumaConfig, NUMA_CONFIG) R(deviceNumaId, NUMA_ID) R(mpsEnabled, MPS_ENABLED) R(hostNumaId, HOST_NUMA_ID)
#endif

static int attribute(int device, CUdevice_attribute which)
{
    int value = 0;
    DRV(cuDeviceGetAttribute)(&value, which, device);
    return value;
}

API(cudaGetDeviceCount, (int *count), (count))
{
    NEED(count);
    TRY(rt(DRV(cuDeviceGetCount)(count)));
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

API(cudaGetDeviceProperties, (struct cudaDeviceProp *p, int device), (p, device))
{
    CUuuid uuid;
    NEED(p);
    TRY(rt_check_device(device));
    memset(p, 0, sizeof *p);
    TRY(rt(DRV(cuDeviceGetName)(p->name, sizeof p->name, device)));
    TRY(rt(DRV(cuDeviceTotalMem)(&p->totalGlobalMem, device)));
    if (DRV(cuDeviceGetUuid)(&uuid, device) == CUDA_SUCCESS)
        memcpy(&p->uuid, &uuid, sizeof uuid);
#define ROW(field, which) p->field = (typeof(p->field))attribute(device, CU_DEVICE_ATTRIBUTE_##which);
    PROPERTY_TABLE(ROW)
    PROPERTY_TABLE_VERSION(ROW)
#undef ROW
    return cudaSuccess;
}

API(cudaDeviceGetAttribute, (int *value, enum cudaDeviceAttr which, int device), (value, which, device))
{
    NEED(value);
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceGetAttribute)(value, (CUdevice_attribute)which, device));
}

API(cudaDeviceGetPCIBusId, (char *text, int length, int device), (text, length, device))
{
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceGetPCIBusId)(text, length, device));
}
API(cudaDeviceGetByPCIBusId, (int *device, const char *text), (device, text))
{
    NEED(device && text);
    return rt(DRV(cuDeviceGetByPCIBusId)(device, text));
}
API(cudaDeviceGetP2PAttribute, (int *value, enum cudaDeviceP2PAttr which, int from, int to), (value, which, from, to))
{
    TRY(rt_check_device(from));
    TRY(rt_check_device(to));
    return rt(DRV(cuDeviceGetP2PAttribute)(value, (CUdevice_P2PAttribute)which, from, to));
}
API(cudaDeviceCanAccessPeer, (int *can, int device, int peer), (can, device, peer))
{
    NEED(can);
    TRY(rt_check_device(device));
    TRY(rt_check_device(peer));
    return rt(DRV(cuDeviceCanAccessPeer)(can, device, peer));
}
API(cudaChooseDevice, (int *device, const struct cudaDeviceProp *wish), (device, wish))
{
    NEED(device && wish);
    *device = 0; /* simulated devices are all alike */
    return cudaSuccess;
}
API(cudaSetValidDevices, (int *devices, int count), (devices, count))
{
    NEED(devices || !count);
    for (int i = 0; i < count; i++)
        TRY(rt_check_device(devices[i]));
    return cudaSuccess;
}

API(cudaDeviceGraphMemTrim, (int device), (device))
{
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceGraphMemTrim)(device));
}
API(cudaDeviceGetGraphMemAttribute, (int device, enum cudaGraphMemAttributeType which, void *value), (device, which, value))
{
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceGetGraphMemAttribute)(device, (CUgraphMem_attribute)which, value));
}
API(cudaDeviceSetGraphMemAttribute, (int device, enum cudaGraphMemAttributeType which, void *value), (device, which, value))
{
    TRY(rt_check_device(device));
    return rt(DRV(cuDeviceSetGraphMemAttribute)(device, (CUgraphMem_attribute)which, value));
}

/* The profiler is not there to be started: both succeed, as under no profiler. */
cudaError_t cudaProfilerStart(void) { return cudaSuccess; }
cudaError_t cudaProfilerStop(void) { return cudaSuccess; }
