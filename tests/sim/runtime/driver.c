/* driver.c: how the simulated runtime reaches the driver, exactly as the real one does by the documentation:
 * dlopen("libcuda.so.1"), dlsym of cuGetProcAddress_v2, everything else from there. A preload that stands between
 * (dlsym, cuGetProcAddress) therefore sees every call. A missing entry is filled with one that declines. */
#include "runtime.h"
#include <dlfcn.h>
#include <pthread.h>

struct driver driver;
static pthread_once_t loaded_once = PTHREAD_ONCE_INIT;
static cudaError_t load_result;

static CUresult declined(void) { return CUDA_ERROR_NOT_SUPPORTED; }

static void fetch(const char *name, int version, void **entry)
{
    CUdriverProcAddressQueryResult status;
    *entry = NULL;
    if (driver.get_proc_address(name, entry, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &status) || !*entry)
        *entry = (void *)declined;
}

static cudaError_t load(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return cudaErrorInsufficientDriver;
    driver.get_proc_address = (PFN_cuGetProcAddress_v12000)dlsym(library, "cuGetProcAddress_v2");
    if (!driver.get_proc_address)
        return cudaErrorInsufficientDriver;
#define D(name, version) fetch(#name, version, (void **)&driver.fn_##name);
#include "driver_functions.def"
#undef D
    return rt(DRV(cuInit)(0));
}

static void load_once(void) { load_result = load(); }

cudaError_t driver_load(void)
{
    pthread_once(&loaded_once, load_once);
    return load_result;
}

static cudaError_t entry_point(const char *symbol, void **function, unsigned version, unsigned long long flags,
                               enum cudaDriverEntryPointQueryResult *status)
{
    NEED(symbol && function);
    NEED(!(flags & ~(unsigned long long)(cudaEnableLegacyStream | cudaEnablePerThreadDefaultStream)));
    CUdriverProcAddressQueryResult answer = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    CUresult result = driver.get_proc_address(symbol, function, (int)version, flags, &answer);
    if (status)
        *status = (enum cudaDriverEntryPointQueryResult)answer;
    return rt(result);
}

/* The plain forms search as the program was compiled: legacy default stream, unless the flags say otherwise. */
API(cudaGetDriverEntryPointByVersion, (const char *symbol, void **function, unsigned version, unsigned long long flags,
    enum cudaDriverEntryPointQueryResult *status), (symbol, function, version, flags, status))
{
    return entry_point(symbol, function, version, flags, status);
}
cudaError_t cudaGetDriverEntryPointByVersion_ptsz(const char *, void **, unsigned, unsigned long long, enum cudaDriverEntryPointQueryResult *);
API(cudaGetDriverEntryPointByVersion_ptsz, (const char *symbol, void **function, unsigned version, unsigned long long flags,
    enum cudaDriverEntryPointQueryResult *status), (symbol, function, version, flags, status))
{
    return entry_point(symbol, function, version, flags ? flags : cudaEnablePerThreadDefaultStream, status);
}
API(cudaGetDriverEntryPoint, (const char *symbol, void **function, unsigned long long flags,
    enum cudaDriverEntryPointQueryResult *status), (symbol, function, flags, status))
{
    return entry_point(symbol, function, CUDART_VERSION, flags, status);
}
cudaError_t cudaGetDriverEntryPoint_ptsz(const char *, void **, unsigned long long, enum cudaDriverEntryPointQueryResult *);
API(cudaGetDriverEntryPoint_ptsz, (const char *symbol, void **function, unsigned long long flags,
    enum cudaDriverEntryPointQueryResult *status), (symbol, function, flags, status))
{
    return entry_point(symbol, function, CUDART_VERSION, flags ? flags : cudaEnablePerThreadDefaultStream, status);
}

API(cudaDriverGetVersion, (int *version), (version))
{
    NEED(version);
    return rt(DRV(cuDriverGetVersion)(version));
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    if (!version)
        return rt_result(cudaErrorInvalidValue);
    *version = CUDART_VERSION;
    return cudaSuccess;
}
