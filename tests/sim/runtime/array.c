/* array.c: CUDA arrays: their descriptions, and copies of one and two dimensions (copy.c does three). Textures, surfaces and
 * mipmaps are not simulated. A *channel description* gives the bits of each channel; the driver has a format and a count. */
#include "runtime.h"
#include "array.h"

struct cudaChannelFormatDesc cudaCreateChannelDesc(int x, int y, int z, int w, enum cudaChannelFormatKind kind)
{
    return (struct cudaChannelFormatDesc){ x, y, z, w, kind };
}

/* --- formats: F(driver's, kind, bits) */
static const struct { CUarray_format format; enum cudaChannelFormatKind kind; int bits; } formats[] = {
#define F(format, kind, bits) { CU_AD_FORMAT_##format, cudaChannelFormatKind##kind, bits },
    F(UNSIGNED_INT8, Unsigned, 8) F(UNSIGNED_INT16, Unsigned, 16) F(UNSIGNED_INT32, Unsigned, 32)
    F(SIGNED_INT8, Signed, 8) F(SIGNED_INT16, Signed, 16) F(SIGNED_INT32, Signed, 32) F(HALF, Float, 16) F(FLOAT, Float, 32)
#undef F
};
enum { FORMATS = sizeof formats / sizeof *formats };

static cudaError_t put_format(const struct cudaChannelFormatDesc *d, CUDA_ARRAY3D_DESCRIPTOR *a)
{
    a->NumChannels = 1u + (d->y > 0) + (d->z > 0) + (d->w > 0);
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].kind == d->f && formats[i].bits == d->x) {
            a->Format = formats[i].format;
            return a->NumChannels == 3 ? cudaErrorInvalidChannelDescriptor : cudaSuccess;
        }
    return cudaErrorInvalidChannelDescriptor;
}
static struct cudaChannelFormatDesc get_format(const CUDA_ARRAY3D_DESCRIPTOR *a)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].format == a->Format) {
            int bits = formats[i].bits;
            return (struct cudaChannelFormatDesc){ bits, a->NumChannels > 1 ? bits : 0, a->NumChannels > 2 ? bits : 0,
                                                   a->NumChannels > 3 ? bits : 0, formats[i].kind };
        }
    return (struct cudaChannelFormatDesc){ .f = cudaChannelFormatKindNone };
}
cudaError_t rt_array_element(cudaArray_const_t array, size_t *bytes)
{
    CUDA_ARRAY3D_DESCRIPTOR a;
    TRY(rt(DRV(cuArray3DGetDescriptor)(&a, (CUarray)array)));
    *bytes = (size_t)get_format(&a).x / 8 * a.NumChannels;
    return cudaSuccess;
}

/* --- life */
static cudaError_t create(cudaArray_t *array, const struct cudaChannelFormatDesc *desc, struct cudaExtent e, unsigned flags)
{
    CUDA_ARRAY3D_DESCRIPTOR a = { .Width = e.width, .Height = e.height, .Depth = e.depth, .Flags = flags };
    NEED(array && desc);
    TRY(put_format(desc, &a));
    return rt(DRV(cuArray3DCreate)((CUarray *)array, &a));
}
API_CTX(cudaMallocArray, (cudaArray_t *array, const struct cudaChannelFormatDesc *desc, size_t width, size_t height, unsigned flags),
        (array, desc, width, height, flags))
{
    return create(array, desc, (struct cudaExtent){ width, height, 0 }, flags);
}
API_CTX(cudaMalloc3DArray, (cudaArray_t *array, const struct cudaChannelFormatDesc *desc, struct cudaExtent extent, unsigned flags),
        (array, desc, extent, flags))
{
    return create(array, desc, extent, flags);
}
API_CTX(cudaFreeArray, (cudaArray_t array), (array)) { return array ? rt(DRV(cuArrayDestroy)((CUarray)array)) : cudaSuccess; }
API_CTX(cudaArrayGetInfo, (struct cudaChannelFormatDesc *desc, struct cudaExtent *extent, unsigned *flags, cudaArray_t array),
        (desc, extent, flags, array))
{
    CUDA_ARRAY3D_DESCRIPTOR a;
    TRY(rt(DRV(cuArray3DGetDescriptor)(&a, (CUarray)array)));
    if (desc)
        *desc = get_format(&a);
    if (extent)
        *extent = (struct cudaExtent){ a.Width, a.Height, a.Depth };
    if (flags)
        *flags = a.Flags;
    return cudaSuccess;
}
API_CTX(cudaGetChannelDesc, (struct cudaChannelFormatDesc *desc, cudaArray_const_t array), (desc, array))
{
    CUDA_ARRAY3D_DESCRIPTOR a;
    NEED(desc);
    TRY(rt(DRV(cuArray3DGetDescriptor)(&a, (CUarray)array)));
    *desc = get_format(&a);
    return cudaSuccess;
}

/* --- copies of two dimensions: an end is an array with an offset, or memory with a pitch */
static CUmemorytype memory(enum cudaMemcpyKind kind, bool source)
{
    if (kind == cudaMemcpyDefault)
        return CU_MEMORYTYPE_UNIFIED;
    bool host = source ? kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost
                       : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost;
    return host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
}
static cudaError_t run(const CUDA_MEMCPY2D *c, CUstream stream, bool async)
{
    if (!c->WidthInBytes || !c->Height)
        return cudaSuccess;
    if (!async && !stream)
        return rt(DRV(cuMemcpy2DUnaligned)(c));
    TRY(rt(DRV(cuMemcpy2DAsync)(c, stream)));
    return async ? cudaSuccess : rt(DRV(cuStreamSynchronize)(stream));
}
static cudaError_t to_array(cudaArray_t dst, size_t x, size_t y, const void *src, size_t pitch, size_t w, size_t h,
                            enum cudaMemcpyKind kind, CUstream stream, bool async)
{
    CUDA_MEMCPY2D c = { .srcMemoryType = memory(kind, true), .srcHost = src, .srcDevice = (CUdeviceptr)src, .srcPitch = pitch,
        .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = (CUarray)dst, .dstXInBytes = x, .dstY = y, .WidthInBytes = w, .Height = h };
    return run(&c, stream, async);
}
static cudaError_t from_array(void *dst, size_t pitch, cudaArray_const_t src, size_t x, size_t y, size_t w, size_t h,
                              enum cudaMemcpyKind kind, CUstream stream, bool async)
{
    CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = (CUarray)src, .srcXInBytes = x, .srcY = y,
        .dstMemoryType = memory(kind, false), .dstHost = dst, .dstDevice = (CUdeviceptr)dst, .dstPitch = pitch, .WidthInBytes = w, .Height = h };
    return run(&c, stream, async);
}
SYNC_API(cudaMemcpy2DToArray, (cudaArray_t dst, size_t x, size_t y, const void *src, size_t pitch, size_t w, size_t h,
         enum cudaMemcpyKind kind), (dst, x, y, src, pitch, w, h, kind))
{
    return to_array(dst, x, y, src, pitch, w, h, kind, stream, false);
}
STREAM_API(cudaMemcpy2DToArrayAsync, (cudaArray_t dst, size_t x, size_t y, const void *src, size_t pitch, size_t w, size_t h,
           enum cudaMemcpyKind kind, cudaStream_t stream), (dst, x, y, src, pitch, w, h, kind, stream))
{
    return to_array(dst, x, y, src, pitch, w, h, kind, stream, true);
}
SYNC_API(cudaMemcpy2DFromArray, (void *dst, size_t pitch, cudaArray_const_t src, size_t x, size_t y, size_t w, size_t h,
         enum cudaMemcpyKind kind), (dst, pitch, src, x, y, w, h, kind))
{
    return from_array(dst, pitch, src, x, y, w, h, kind, stream, false);
}
STREAM_API(cudaMemcpy2DFromArrayAsync, (void *dst, size_t pitch, cudaArray_const_t src, size_t x, size_t y, size_t w, size_t h,
           enum cudaMemcpyKind kind, cudaStream_t stream), (dst, pitch, src, x, y, w, h, kind, stream))
{
    return from_array(dst, pitch, src, x, y, w, h, kind, stream, true);
}
SYNC_API(cudaMemcpy2DArrayToArray, (cudaArray_t dst, size_t dx, size_t dy, cudaArray_const_t src, size_t sx, size_t sy, size_t w, size_t h,
         enum cudaMemcpyKind kind), (dst, dx, dy, src, sx, sy, w, h, kind))
{
    (void)kind;
    CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = (CUarray)src, .srcXInBytes = sx, .srcY = sy,
        .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = (CUarray)dst, .dstXInBytes = dx, .dstY = dy, .WidthInBytes = w, .Height = h };
    return run(&c, stream, false);
}
/* The old forms without a height: one row of bytes. */
SYNC_API(cudaMemcpyToArray, (cudaArray_t dst, size_t x, size_t y, const void *src, size_t n, enum cudaMemcpyKind kind), (dst, x, y, src, n, kind))
{
    return to_array(dst, x, y, src, n, n, 1, kind, stream, false);
}
STREAM_API(cudaMemcpyToArrayAsync, (cudaArray_t dst, size_t x, size_t y, const void *src, size_t n, enum cudaMemcpyKind kind,
           cudaStream_t stream), (dst, x, y, src, n, kind, stream))
{
    return to_array(dst, x, y, src, n, n, 1, kind, stream, true);
}
SYNC_API(cudaMemcpyFromArray, (void *dst, cudaArray_const_t src, size_t x, size_t y, size_t n, enum cudaMemcpyKind kind), (dst, src, x, y, n, kind))
{
    return from_array(dst, n, src, x, y, n, 1, kind, stream, false);
}
STREAM_API(cudaMemcpyFromArrayAsync, (void *dst, cudaArray_const_t src, size_t x, size_t y, size_t n, enum cudaMemcpyKind kind,
           cudaStream_t stream), (dst, src, x, y, n, kind, stream))
{
    return from_array(dst, n, src, x, y, n, 1, kind, stream, true);
}
