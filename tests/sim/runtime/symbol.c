/* symbol.c: device variables by the address of their host stand-in: where they are, copies to and from them. */
#include "runtime.h"

API_CTX(cudaGetSymbolAddress, (void **address, const void *symbol), (address, symbol))
{
    size_t size;
    NEED(address);
    return rt_symbol(symbol, (CUdeviceptr *)address, &size);
}
API_CTX(cudaGetSymbolSize, (size_t *size, const void *symbol), (size, symbol))
{
    CUdeviceptr address;
    NEED(size);
    return rt_symbol(symbol, &address, size);
}

static cudaError_t within(const void *symbol, size_t n, size_t offset, char **place)
{
    CUdeviceptr address;
    size_t size;
    TRY(rt_symbol(symbol, &address, &size));
    NEED(offset <= size && n <= size - offset);
    *place = (char *)address + offset;
    return cudaSuccess;
}

static cudaError_t to_symbol(const void *symbol, const void *src, size_t n, size_t offset, enum cudaMemcpyKind kind, CUstream stream, bool async)
{
    char *place;
    if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToDevice && kind != cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    TRY(within(symbol, n, offset, &place));
    return rt_copy(place, src, n, kind, stream, async);
}
static cudaError_t from_symbol(void *dst, const void *symbol, size_t n, size_t offset, enum cudaMemcpyKind kind, CUstream stream, bool async)
{
    char *place;
    if (kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice && kind != cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    TRY(within(symbol, n, offset, &place));
    return rt_copy(dst, place, n, kind, stream, async);
}

SYNC_API(cudaMemcpyToSymbol, (const void *symbol, const void *src, size_t n, size_t offset, enum cudaMemcpyKind kind), (symbol, src, n, offset, kind))
{
    return to_symbol(symbol, src, n, offset, kind, stream, false);
}
SYNC_API(cudaMemcpyFromSymbol, (void *dst, const void *symbol, size_t n, size_t offset, enum cudaMemcpyKind kind), (dst, symbol, n, offset, kind))
{
    return from_symbol(dst, symbol, n, offset, kind, stream, false);
}
STREAM_API(cudaMemcpyToSymbolAsync, (const void *symbol, const void *src, size_t n, size_t offset, enum cudaMemcpyKind kind,
           cudaStream_t stream), (symbol, src, n, offset, kind, stream))
{
    return to_symbol(symbol, src, n, offset, kind, stream, true);
}
STREAM_API(cudaMemcpyFromSymbolAsync, (void *dst, const void *symbol, size_t n, size_t offset, enum cudaMemcpyKind kind,
           cudaStream_t stream), (dst, symbol, n, offset, kind, stream))
{
    return from_symbol(dst, symbol, n, offset, kind, stream, true);
}

/* --- libraries that the program loads itself */
SAME_LAYOUT(cudaLibrary_t, CUlibrary);

API(cudaLibraryLoadData, (cudaLibrary_t *library, const void *code, enum cudaJitOption *jit, void **jit_values, unsigned jits,
    enum cudaLibraryOption *options, void **values, unsigned count), (library, code, jit, jit_values, jits, options, values, count))
{
    NEED(library && code);
    return rt(DRV(cuLibraryLoadData)((CUlibrary *)library, code, (CUjit_option *)jit, jit_values, jits, (CUlibraryOption *)options, values, count));
}
API(cudaLibraryLoadFromFile, (cudaLibrary_t *library, const char *file, enum cudaJitOption *jit, void **jit_values, unsigned jits,
    enum cudaLibraryOption *options, void **values, unsigned count), (library, file, jit, jit_values, jits, options, values, count))
{
    NEED(library && file);
    return rt(DRV(cuLibraryLoadFromFile)((CUlibrary *)library, file, (CUjit_option *)jit, jit_values, jits, (CUlibraryOption *)options, values, count));
}
API(cudaLibraryUnload, (cudaLibrary_t library), (library)) { return rt(DRV(cuLibraryUnload)((CUlibrary)library)); }
API(cudaLibraryGetKernel, (cudaKernel_t *kernel, cudaLibrary_t library, const char *name), (kernel, library, name))
{
    NEED(kernel && name);
    TRY(rt(DRV(cuLibraryGetKernel)(kernel, (CUlibrary)library, name)));
    rt_remember_kernel(*kernel);
    return cudaSuccess;
}
API_CTX(cudaLibraryGetGlobal, (void **address, size_t *size, cudaLibrary_t library, const char *name), (address, size, library, name))
{
    return rt(DRV(cuLibraryGetGlobal)((CUdeviceptr *)address, size, (CUlibrary)library, name));
}
API_CTX(cudaLibraryGetManaged, (void **address, size_t *size, cudaLibrary_t library, const char *name), (address, size, library, name))
{
    return rt(DRV(cuLibraryGetManaged)((CUdeviceptr *)address, size, (CUlibrary)library, name));
}
API_CTX(cudaLibraryGetUnifiedFunction, (void **function, cudaLibrary_t library, const char *name), (function, library, name))
{
    return rt(DRV(cuLibraryGetUnifiedFunction)(function, (CUlibrary)library, name));
}
API(cudaLibraryGetKernelCount, (unsigned *count, cudaLibrary_t library), (count, library))
{
    return rt(DRV(cuLibraryGetKernelCount)(count, (CUlibrary)library));
}
API(cudaLibraryEnumerateKernels, (cudaKernel_t *kernels, unsigned count, cudaLibrary_t library), (kernels, count, library))
{
    NEED(kernels || !count);
    TRY(rt(DRV(cuLibraryEnumerateKernels)(kernels, count, (CUlibrary)library)));
    for (unsigned i = 0; i < count; i++)
        rt_remember_kernel(kernels[i]);
    return cudaSuccess;
}
