/* runtime.h: what the files of the simulated CUDA runtime share.
 *
 * The runtime is a thin layer over the public driver API. An *exported call* is one function of cuda_runtime_api.h; it
 * enters (driver loaded, a context current where it needs one), asks the driver, and leaves through rt_result, which
 * remembers the *last error* of the thread. A *driver entry* is one function pointer obtained from cuGetProcAddress
 * (driver_functions.def is the only list). A *kernel* and a *variable* are known to the program by a host address that
 * nvcc's generated code registered; modules.c translates. Nothing that the driver can be asked is kept here.
 *
 * Written from NVIDIA's public headers and documentation alone: no private tables, no validity checks answered. */
#pragma once
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

/* --- driver entries: DRV(cuMemAlloc)(&p, n) calls the ABI that driver_functions.def names, whatever cuda.h maps the name to */
struct driver {
#define D(name, version) PFN_##name##_v##version fn_##name;
#include "driver_functions.def"
#undef D
    PFN_cuGetProcAddress_v12000 get_proc_address;
};
extern struct driver driver;
#define DRV(name) (driver.fn_##name)

cudaError_t driver_load(void); /* once: dlopen, cuInit, all entries; the same answer ever after */

/* --- errors */
cudaError_t rt_result(cudaError_t error); /* remember and hand back */
static inline cudaError_t rt(CUresult result) { return (cudaError_t)result; } /* the public headers number them alike */
cudaError_t rt_declined(const char *name); /* a function that the simulator does not have */
void rt_forget_errors(void); /* of this thread, when its device was reset */

/* --- devices and contexts */
cudaError_t rt_enter(void);            /* make some context current: the thread's own, else the primary one of its device */
cudaError_t rt_current_device(int *device);
cudaError_t rt_primary(int device, CUcontext *context); /* retained once a process */
cudaError_t rt_check_device(int device);
cudaError_t rt_reset_device(void);     /* of the thread's device: its allocations go, other threads' bindings are stale */

/* --- what nvcc's code registered */
cudaError_t rt_kernel(const void *host_function_or_kernel, CUkernel *kernel);
const void *rt_host_function(CUfunction function); /* the way back, for graph nodes; the handle itself when it has none */
cudaError_t rt_symbol(const void *host_variable, CUdeviceptr *address, size_t *size);
void rt_remember_kernel(CUkernel kernel);

/* --- copies, shared by copy.c, symbol.c and graph.c */
cudaError_t rt_copy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, CUstream stream, bool async);
cudaError_t rt_copy_params(const struct cudaMemcpy3DParms *from, CUDA_MEMCPY3D *to);

/* --- exported calls. API: needs the driver only. API_CTX: needs a context too. STREAM_API: its last parameter is
 * `stream`, and a second function name_ptsz takes stream 0 as the thread's own. SYNC_API: synchronous on a default
 * stream that the body gets as `stream`: NULL for the plain function, the thread's own for name_ptds. */
#define UNWRAP(...) __VA_ARGS__
#define ENTERED(enter, call) ({ cudaError_t entered_ = (enter); rt_result(entered_ ? entered_ : (call)); })
#define API_ENTER(enter, name, params, args) \
    static cudaError_t name##_call params; \
    cudaError_t name params { return ENTERED(enter, name##_call args); } \
    static cudaError_t name##_call params
#define API(name, params, args) API_ENTER(driver_load(), name, params, args)
#define API_CTX(name, params, args) API_ENTER(rt_enter(), name, params, args)
#define STREAM_API(name, params, args) \
    static cudaError_t name##_call params; \
    cudaError_t name params { return ENTERED(rt_enter(), name##_call args); } \
    cudaError_t name##_ptsz params; \
    cudaError_t name##_ptsz params { if (!stream) stream = cudaStreamPerThread; return ENTERED(rt_enter(), name##_call args); } \
    static cudaError_t name##_call params
#define SYNC_API(name, params, args) \
    static cudaError_t name##_call(CUstream stream, UNWRAP params); \
    cudaError_t name(UNWRAP params) { return ENTERED(rt_enter(), name##_call(NULL, UNWRAP args)); } \
    cudaError_t name##_ptds(UNWRAP params); \
    cudaError_t name##_ptds(UNWRAP params) { return ENTERED(rt_enter(), name##_call(cudaStreamPerThread, UNWRAP args)); } \
    static cudaError_t name##_call(CUstream stream, UNWRAP params)

#define TRY(call) do { cudaError_t try_ = (call); if (try_) return try_; } while (0)
#define NEED(condition) do { if (!(condition)) return cudaErrorInvalidValue; } while (0)
/* Two public structs that the headers declare field by field alike, one for the runtime and one for the driver. */
#define SAME_LAYOUT(a, b) _Static_assert(sizeof(a) == sizeof(b), #a " and " #b)
