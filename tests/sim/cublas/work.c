/* work.c: the driver, a context to work in, and the empty kernel. */
#include "blas.h"
#include <dlfcn.h>
#include <pthread.h>

struct blas_driver blas_driver;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;
static CUkernel empty_kernel;

/* A real PTX program, so that a real driver would take it too. */
static const char image[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry simulated_blas()\n{\n ret;\n}\n";

static bool load(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    PFN_cuGetProcAddress_v12000 get = library ? (PFN_cuGetProcAddress_v12000)dlsym(library, "cuGetProcAddress_v2") : NULL;
    if (!get)
        return false;
#define D(name, version) \
    if (get(#name, (void **)&blas_driver.fn_##name, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, NULL) || !blas_driver.fn_##name) \
        return false;
#include "driver_functions.def"
#undef D
    CUlibrary code;
    return !DRV(cuInit)(0) && !DRV(cuLibraryLoadData)(&code, image, NULL, NULL, 0, NULL, NULL, 0) &&
           !DRV(cuLibraryGetKernel)(&empty_kernel, code, "simulated_blas");
}

static void load_once(void) { ready = load(); }

blas_status blas_status_of(CUresult result)
{
    return result == CUDA_SUCCESS ? OK : result == CUDA_ERROR_OUT_OF_MEMORY ? ALLOC_FAILED
         : result == CUDA_ERROR_INVALID_VALUE ? INVALID_VALUE : EXECUTION_FAILED;
}

blas_status blas_enter(void)
{
    CUcontext context = NULL;
    pthread_once(&once, load_once);
    if (!ready)
        return NOT_INITIALIZED;
    if (DRV(cuCtxGetCurrent)(&context))
        return NOT_INITIALIZED;
    if (!context && (DRV(cuDevicePrimaryCtxRetain)(&context, 0) || DRV(cuCtxSetCurrent)(context)))
        return NOT_INITIALIZED;
    return OK;
}

blas_status blas_work(CUstream stream)
{
    return blas_status_of(DRV(cuLaunchKernel)((CUfunction)empty_kernel, 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL));
}
