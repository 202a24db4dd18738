/* cublas.c: simulated cuBLAS. A *handle* has a stream, a workspace (allocated at creation as the documentation says:
 * 32 MiB on compute capability 9.0 and later, 4 MiB before) and modes that are stored and given back. */
#include "blas.h"
#include <stdlib.h>
#include <string.h>

#ifndef BLAS_VERSION
#define BLAS_VERSION 130000
#endif

struct cublasContext {
    CUstream stream;
    CUdeviceptr workspace; /* ours; freed with the handle */
    int pointer_mode, atomics_mode, math_mode, sm_count;
};
typedef struct cublasContext *handle;

/* --- life */
static size_t workspace_size(void)
{
    CUdevice device = 0;
    int major = 0;
    DRV(cuCtxGetDevice)(&device);
    DRV(cuDeviceGetAttribute)(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    return (size_t)(major >= 9 ? 32 : 4) << 20;
}

blas_status cublasCreate_v2(handle *out)
{
    blas_status status = out ? blas_enter() : INVALID_VALUE;
    if (status)
        return status;
    handle h = calloc(1, sizeof *h);
    if (!h)
        return ALLOC_FAILED;
    status = blas_status_of(DRV(cuMemAlloc)(&h->workspace, workspace_size()));
    if (status) {
        free(h);
        return status;
    }
    *out = h;
    return OK;
}

blas_status cublasDestroy_v2(handle h)
{
    if (!h)
        return NOT_INITIALIZED;
    DRV(cuCtxSynchronize)();
    DRV(cuMemFree)(h->workspace);
    free(h);
    return OK;
}

/* --- settings: set, get, and the checks that the documentation promises */
#define SETTING(Suffix, type, field, Name) \
    blas_status cublasSet##Name##Suffix(handle h, type value) { if (!h) return NOT_INITIALIZED; h->field = value; return OK; } \
    blas_status cublasGet##Name##Suffix(handle h, type *value) \
    { \
        if (!h) return NOT_INITIALIZED; \
        if (!value) return INVALID_VALUE; \
        *value = h->field; \
        return OK; \
    }
SETTING(_v2, CUstream, stream, Stream)
SETTING(_v2, int, pointer_mode, PointerMode)
SETTING(, int, atomics_mode, AtomicsMode)
SETTING(, int, math_mode, MathMode)
SETTING(, int, sm_count, SmCountTarget)

blas_status cublasSetWorkspace_v2(handle h, void *workspace, size_t size)
{
    if (!h)
        return NOT_INITIALIZED;
    (void)size;
    return workspace && (size_t)workspace % 256 ? INVALID_VALUE : OK;
}

blas_status cublasGetVersion_v2(handle h, int *version) { (void)h; return version ? *version = BLAS_VERSION, OK : INVALID_VALUE; }
size_t cublasGetCudartVersion(void) { return CUDA_VERSION; }
blas_status cublasGetProperty(int which, int *value)
{
    if (!value || which < 0 || which > 2)
        return INVALID_VALUE;
    int parts[] = { BLAS_VERSION / 10000, BLAS_VERSION / 100 % 100, BLAS_VERSION % 100 };
    *value = parts[which];
    return OK;
}

static const struct { blas_status status; const char *name, *text; } statuses[] = {
    { OK, "CUBLAS_STATUS_SUCCESS", "success" },
    { NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized" },
    { ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed" },
    { INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an unsupported value or parameter was passed to the function" },
    { ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH", "the function requires an absent feature of the device" },
    { MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "an access to GPU memory space failed" },
    { EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the GPU program failed to execute" },
    { INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed" },
    { NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the functionality requested is not supported" },
    { LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "a license check failed" },
};
#define LOOK_UP(field) \
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) \
        if (statuses[i].status == status) \
            return statuses[i].field; \
    return "unknown cuBLAS status"
const char *cublasGetStatusName(blas_status status) { LOOK_UP(name); }
const char *cublasGetStatusString(blas_status status) { LOOK_UP(text); }

blas_status cublasLoggerConfigure(int on, int to_stdout, int to_stderr, const char *file) { (void)on, (void)to_stdout, (void)to_stderr, (void)file; return OK; }
blas_status cublasSetLoggerCallback(void *callback) { (void)callback; return OK; }
blas_status cublasGetLoggerCallback(void **callback) { return callback ? *callback = NULL, OK : INVALID_VALUE; }
void cublasXerbla(const char *name, int info) { (void)name, (void)info; }

/* --- vectors and matrices between host and device: real copies. A vector is a matrix of one-element rows. */
static blas_status move(size_t width, size_t rows, const void *src, size_t spitch, CUmemorytype stype,
                        void *dst, size_t dpitch, CUmemorytype dtype, CUstream stream, bool async)
{
    blas_status status = blas_enter();
    if (status || !width || !rows)
        return status;
    CUDA_MEMCPY2D c = { .srcMemoryType = stype, .srcHost = src, .srcDevice = (CUdeviceptr)src, .srcPitch = spitch,
        .dstMemoryType = dtype, .dstHost = dst, .dstDevice = (CUdeviceptr)dst, .dstPitch = dpitch, .WidthInBytes = width, .Height = rows };
    CUresult result = async ? DRV(cuMemcpy2DAsync)(&c, stream) : DRV(cuMemcpy2DUnaligned)(&c);
    return result ? MAPPING_ERROR : OK;
}
#define MOVES(Direction, stype, dtype, Suffix, integer) \
    blas_status cublas##Direction##Vector##Suffix(integer n, integer size, const void *x, integer incx, void *y, integer incy) \
    { \
        return move((size_t)size, (size_t)n, x, (size_t)(incx * size), stype, y, (size_t)(incy * size), dtype, NULL, false); \
    } \
    blas_status cublas##Direction##VectorAsync##Suffix(integer n, integer size, const void *x, integer incx, void *y, integer incy, CUstream stream) \
    { \
        return move((size_t)size, (size_t)n, x, (size_t)(incx * size), stype, y, (size_t)(incy * size), dtype, stream, true); \
    } \
    blas_status cublas##Direction##Matrix##Suffix(integer rows, integer cols, integer size, const void *a, integer lda, void *b, integer ldb) \
    { \
        return move((size_t)(rows * size), (size_t)cols, a, (size_t)(lda * size), stype, b, (size_t)(ldb * size), dtype, NULL, false); \
    } \
    blas_status cublas##Direction##MatrixAsync##Suffix(integer rows, integer cols, integer size, const void *a, integer lda, void *b, integer ldb, CUstream stream) \
    { \
        return move((size_t)(rows * size), (size_t)cols, a, (size_t)(lda * size), stype, b, (size_t)(ldb * size), dtype, stream, true); \
    }
MOVES(Set, CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_DEVICE, , int)
MOVES(Get, CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST, , int)
MOVES(Set, CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_DEVICE, _64, long)
MOVES(Get, CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST, _64, long)

/* --- everything that computes: the first argument is the handle, the others do not matter here */
static blas_status compute(handle h)
{
    blas_status status = h ? blas_enter() : NOT_INITIALIZED;
    return status ? status : blas_work(h->stream);
}
#define COMPUTES(name) blas_status name(handle h) { return compute(h); }
#define V(name) COMPUTES(cublas##name##_v2) COMPUTES(cublas##name##_v2_64)
#define E(name) COMPUTES(cublas##name) COMPUTES(cublas##name##_64)
#include "functions.def"
