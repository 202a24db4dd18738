/* context.c: which context a call of the runtime works in.
 *
 * A thread's *chosen device* is the one it last gave to cudaSetDevice (0 at first). A call that needs a context takes the
 * one that is current in the driver, whoever made it; when there is none, it makes the primary context of the chosen
 * device current. A primary context is retained once a process and device, and given up by cudaDeviceReset; *resets*
 * counts those, so that other threads notice that the context which we made current for them is gone. */
#include "runtime.h"
#include <pthread.h>

enum { MAX_DEVICES = 64 };
static CUcontext primary[MAX_DEVICES]; /* under lock; NULL: not retained */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned resets;                /* atomic */
static _Thread_local int chosen_device;
static _Thread_local CUcontext bound;  /* what we made current for this thread, and when */
static _Thread_local unsigned bound_at;

static unsigned reset_count(void) { return __atomic_load_n(&resets, __ATOMIC_ACQUIRE); }

cudaError_t rt_check_device(int device)
{
    int count = 0;
    TRY(rt(DRV(cuDeviceGetCount)(&count)));
    return device >= 0 && device < count && device < MAX_DEVICES ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t rt_primary(int device, CUcontext *context)
{
    CUdevice handle;
    TRY(rt_check_device(device));
    TRY(rt(DRV(cuDeviceGet)(&handle, device)));
    pthread_mutex_lock(&lock);
    cudaError_t error = cudaSuccess;
    if (!primary[device])
        error = rt(DRV(cuDevicePrimaryCtxRetain)(&primary[device], handle));
    *context = primary[device];
    pthread_mutex_unlock(&lock);
    return error;
}

static cudaError_t bind(int device)
{
    CUcontext context;
    unsigned at = reset_count();
    TRY(rt_primary(device, &context));
    TRY(rt(DRV(cuCtxSetCurrent)(context)));
    bound = context;
    bound_at = at;
    return cudaSuccess;
}

cudaError_t rt_enter(void)
{
    CUcontext current = NULL;
    TRY(driver_load());
    TRY(rt(DRV(cuCtxGetCurrent)(&current)));
    bool stale = current && current == bound && bound_at != reset_count();
    return current && !stale ? cudaSuccess : bind(chosen_device);
}

cudaError_t rt_current_device(int *device)
{
    CUcontext current = NULL;
    CUdevice handle;
    TRY(rt(DRV(cuCtxGetCurrent)(&current)));
    if (!current || (current == bound && bound_at != reset_count())) {
        *device = chosen_device;
        return cudaSuccess;
    }
    TRY(rt(DRV(cuCtxGetDevice)(&handle)));
    *device = handle;
    return cudaSuccess;
}

API(cudaSetDevice, (int device), (device))
{
    TRY(rt_check_device(device));
    chosen_device = device;
    return bind(device);
}

API(cudaInitDevice, (int device, unsigned flags, unsigned mode), (device, flags, mode))
{
    CUcontext context;
    TRY(rt_check_device(device));
    if (mode & cudaInitDeviceFlagsAreValid)
        TRY(rt(DRV(cuDevicePrimaryCtxSetFlags)(device, flags)));
    return rt_primary(device, &context);
}

API(cudaGetDevice, (int *device), (device))
{
    NEED(device);
    return rt_current_device(device);
}

cudaError_t rt_reset_device(void)
{
    int device;
    TRY(driver_load());
    TRY(rt_current_device(&device));
    TRY(rt(DRV(cuDevicePrimaryCtxReset)(device)));
    pthread_mutex_lock(&lock);
    if (primary[device])
        DRV(cuDevicePrimaryCtxRelease)(device);
    primary[device] = NULL;
    __atomic_add_fetch(&resets, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    chosen_device = device;
    rt_forget_errors();
    return rt(DRV(cuCtxSetCurrent)(NULL));
}
API(cudaDeviceReset, (void), ()) { return rt_reset_device(); }

API_CTX(cudaDeviceSynchronize, (void), ()) { return rt(DRV(cuCtxSynchronize)()); }

API(cudaSetDeviceFlags, (unsigned flags), (flags))
{
    int device;
    TRY(rt_current_device(&device));
    return rt(DRV(cuDevicePrimaryCtxSetFlags)(device, flags & ~cudaDeviceMapHost));
}

API(cudaGetDeviceFlags, (unsigned *flags), (flags))
{
    int device, active;
    CUcontext current = NULL;
    NEED(flags);
    TRY(rt(DRV(cuCtxGetCurrent)(&current)));
    if (current)
        return rt(DRV(cuCtxGetFlags)(flags));
    TRY(rt_current_device(&device));
    return rt(DRV(cuDevicePrimaryCtxGetState)(device, flags, &active));
}

API_CTX(cudaDeviceGetLimit, (size_t *value, enum cudaLimit limit), (value, limit))
{
    return rt(DRV(cuCtxGetLimit)(value, (CUlimit)limit));
}
API_CTX(cudaDeviceSetLimit, (enum cudaLimit limit, size_t value), (limit, value))
{
    return rt(DRV(cuCtxSetLimit)((CUlimit)limit, value));
}
API_CTX(cudaDeviceGetCacheConfig, (enum cudaFuncCache *config), (config))
{
    NEED(config);
    return rt(DRV(cuCtxGetCacheConfig)((CUfunc_cache *)config));
}
API_CTX(cudaDeviceSetCacheConfig, (enum cudaFuncCache config), (config))
{
    return rt(DRV(cuCtxSetCacheConfig)((CUfunc_cache)config));
}
API_CTX(cudaDeviceGetStreamPriorityRange, (int *least, int *greatest), (least, greatest))
{
    return rt(DRV(cuCtxGetStreamPriorityRange)(least, greatest));
}
API_CTX(cudaCtxResetPersistingL2Cache, (void), ()) { return rt(DRV(cuCtxResetPersistingL2Cache)()); }

API_CTX(cudaDeviceEnablePeerAccess, (int peer, unsigned flags), (peer, flags))
{
    CUcontext context;
    NEED(flags == 0);
    TRY(rt_primary(peer, &context));
    return rt(DRV(cuCtxEnablePeerAccess)(context, flags));
}
API_CTX(cudaDeviceDisablePeerAccess, (int peer), (peer))
{
    CUcontext context;
    TRY(rt_primary(peer, &context));
    return rt(DRV(cuCtxDisablePeerAccess)(context));
}
