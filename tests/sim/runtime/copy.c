/* copy.c: copies and fills of linear memory, one, two and three dimensional.
 * The *kind* says where the ends are; it picks the driver's function (one dimension) or memory types (two and three).
 * cudaMemcpyDefault leaves it to the driver, which knows by the address. */
#include "runtime.h"
#include "array.h"

static CUresult copy_now(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
    switch (kind) {
    case cudaMemcpyHostToDevice: return DRV(cuMemcpyHtoD)((CUdeviceptr)dst, src, n);
    case cudaMemcpyDeviceToHost: return DRV(cuMemcpyDtoH)(dst, (CUdeviceptr)src, n);
    case cudaMemcpyDeviceToDevice: return DRV(cuMemcpyDtoD)((CUdeviceptr)dst, (CUdeviceptr)src, n);
    default: return DRV(cuMemcpy)((CUdeviceptr)dst, (CUdeviceptr)src, n);
    }
}

static CUresult copy_async(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, CUstream stream)
{
    switch (kind) {
    case cudaMemcpyHostToDevice: return DRV(cuMemcpyHtoDAsync)((CUdeviceptr)dst, src, n, stream);
    case cudaMemcpyDeviceToHost: return DRV(cuMemcpyDtoHAsync)(dst, (CUdeviceptr)src, n, stream);
    case cudaMemcpyDeviceToDevice: return DRV(cuMemcpyDtoDAsync)((CUdeviceptr)dst, (CUdeviceptr)src, n, stream);
    default: return DRV(cuMemcpyAsync)((CUdeviceptr)dst, (CUdeviceptr)src, n, stream);
    }
}

/* After an asynchronous form of a synchronous call: wait, unless it has failed already. */
static cudaError_t finish(CUresult result, CUstream stream, bool async)
{
    return rt(result || async ? result : DRV(cuStreamSynchronize)(stream));
}

cudaError_t rt_copy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, CUstream stream, bool async)
{
    if ((unsigned)kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    if (!n)
        return cudaSuccess;
    NEED(dst && src);
    if (!async && !stream)
        return rt(copy_now(dst, src, n, kind));
    return finish(copy_async(dst, src, n, kind, stream), stream, async);
}

SYNC_API(cudaMemcpy, (void *dst, const void *src, size_t n, enum cudaMemcpyKind kind), (dst, src, n, kind))
{
    return rt_copy(dst, src, n, kind, stream, false);
}
STREAM_API(cudaMemcpyAsync, (void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream),
           (dst, src, n, kind, stream))
{
    return rt_copy(dst, src, n, kind, stream, true);
}

API_CTX(cudaMemcpyPeer, (void *dst, int to, const void *src, int from, size_t n), (dst, to, src, from, n))
{
    CUcontext target, source;
    TRY(rt_primary(to, &target));
    TRY(rt_primary(from, &source));
    return n ? rt(DRV(cuMemcpyPeer)((CUdeviceptr)dst, target, (CUdeviceptr)src, source, n)) : cudaSuccess;
}
API_CTX(cudaMemcpyPeerAsync, (void *dst, int to, const void *src, int from, size_t n, cudaStream_t stream),
        (dst, to, src, from, n, stream))
{
    CUcontext target, source;
    TRY(rt_primary(to, &target));
    TRY(rt_primary(from, &source));
    return n ? rt(DRV(cuMemcpyPeerAsync)((CUdeviceptr)dst, target, (CUdeviceptr)src, source, n, stream)) : cudaSuccess;
}

/* --- two dimensions */
static CUmemorytype source_type(enum cudaMemcpyKind kind)
{
    return kind == cudaMemcpyDefault ? CU_MEMORYTYPE_UNIFIED
         : kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
}
static CUmemorytype target_type(enum cudaMemcpyKind kind)
{
    return kind == cudaMemcpyDefault ? CU_MEMORYTYPE_UNIFIED
         : kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
}

static cudaError_t copy_2d(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width, size_t height,
                           enum cudaMemcpyKind kind, CUstream stream, bool async)
{
    if ((unsigned)kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    if (width > dpitch || width > spitch)
        return cudaErrorInvalidPitchValue;
    if (!width || !height)
        return cudaSuccess;
    NEED(dst && src);
    CUDA_MEMCPY2D c = { .srcMemoryType = source_type(kind), .srcHost = src, .srcDevice = (CUdeviceptr)src, .srcPitch = spitch,
        .dstMemoryType = target_type(kind), .dstHost = dst, .dstDevice = (CUdeviceptr)dst, .dstPitch = dpitch,
        .WidthInBytes = width, .Height = height };
    if (!async && !stream)
        return rt(DRV(cuMemcpy2DUnaligned)(&c));
    return finish(DRV(cuMemcpy2DAsync)(&c, stream), stream, async);
}

SYNC_API(cudaMemcpy2D, (void *dst, size_t dpitch, const void *src, size_t spitch, size_t w, size_t h, enum cudaMemcpyKind kind),
         (dst, dpitch, src, spitch, w, h, kind))
{
    return copy_2d(dst, dpitch, src, spitch, w, h, kind, stream, false);
}
STREAM_API(cudaMemcpy2DAsync, (void *dst, size_t dpitch, const void *src, size_t spitch, size_t w, size_t h,
           enum cudaMemcpyKind kind, cudaStream_t stream), (dst, dpitch, src, spitch, w, h, kind, stream))
{
    return copy_2d(dst, dpitch, src, spitch, w, h, kind, stream, true);
}

/* --- three dimensions */
/* Where an array takes part, its end is given in elements, and so is the width. */
static cudaError_t put_arrays(const struct cudaMemcpy3DParms *p, CUDA_MEMCPY3D *c)
{
    size_t bytes = 1;
    if (p->srcArray) {
        TRY(rt_array_element(p->srcArray, &bytes));
        c->srcMemoryType = CU_MEMORYTYPE_ARRAY;
        c->srcArray = (CUarray)p->srcArray;
        c->srcXInBytes *= bytes;
    }
    if (p->dstArray) {
        TRY(rt_array_element(p->dstArray, &bytes));
        c->dstMemoryType = CU_MEMORYTYPE_ARRAY;
        c->dstArray = (CUarray)p->dstArray;
        c->dstXInBytes *= bytes;
    }
    c->WidthInBytes *= bytes;
    return cudaSuccess;
}

cudaError_t rt_copy_params(const struct cudaMemcpy3DParms *p, CUDA_MEMCPY3D *c)
{
    NEED(p);
    if ((unsigned)p->kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    *c = (CUDA_MEMCPY3D){ .srcXInBytes = p->srcPos.x, .srcY = p->srcPos.y, .srcZ = p->srcPos.z,
        .srcMemoryType = source_type(p->kind), .srcHost = p->srcPtr.ptr, .srcDevice = (CUdeviceptr)p->srcPtr.ptr,
        .srcPitch = p->srcPtr.pitch, .srcHeight = p->srcPtr.ysize,
        .dstXInBytes = p->dstPos.x, .dstY = p->dstPos.y, .dstZ = p->dstPos.z,
        .dstMemoryType = target_type(p->kind), .dstHost = p->dstPtr.ptr, .dstDevice = (CUdeviceptr)p->dstPtr.ptr,
        .dstPitch = p->dstPtr.pitch, .dstHeight = p->dstPtr.ysize,
        .WidthInBytes = p->extent.width, .Height = p->extent.height, .Depth = p->extent.depth };
    return put_arrays(p, c);
}

static cudaError_t copy_3d(const struct cudaMemcpy3DParms *p, CUstream stream, bool async)
{
    CUDA_MEMCPY3D c;
    TRY(rt_copy_params(p, &c));
    if (!c.WidthInBytes || !c.Height || !c.Depth)
        return cudaSuccess;
    if (!async && !stream)
        return rt(DRV(cuMemcpy3D)(&c));
    return finish(DRV(cuMemcpy3DAsync)(&c, stream), stream, async);
}

SYNC_API(cudaMemcpy3D, (const struct cudaMemcpy3DParms *p), (p)) { return copy_3d(p, stream, false); }
STREAM_API(cudaMemcpy3DAsync, (const struct cudaMemcpy3DParms *p, cudaStream_t stream), (p, stream))
{
    return copy_3d(p, stream, true);
}

static cudaError_t copy_3d_peer(const struct cudaMemcpy3DPeerParms *p, CUstream stream, bool async)
{
    NEED(p);
    if (p->srcArray || p->dstArray)
        return cudaErrorNotSupported;
    CUDA_MEMCPY3D_PEER c = { .srcXInBytes = p->srcPos.x, .srcY = p->srcPos.y, .srcZ = p->srcPos.z,
        .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = (CUdeviceptr)p->srcPtr.ptr, .srcPitch = p->srcPtr.pitch,
        .srcHeight = p->srcPtr.ysize, .dstXInBytes = p->dstPos.x, .dstY = p->dstPos.y, .dstZ = p->dstPos.z,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = (CUdeviceptr)p->dstPtr.ptr, .dstPitch = p->dstPtr.pitch,
        .dstHeight = p->dstPtr.ysize, .WidthInBytes = p->extent.width, .Height = p->extent.height, .Depth = p->extent.depth };
    TRY(rt_primary(p->srcDevice, &c.srcContext));
    TRY(rt_primary(p->dstDevice, &c.dstContext));
    if (!async && !stream)
        return rt(DRV(cuMemcpy3DPeer)(&c));
    return finish(DRV(cuMemcpy3DPeerAsync)(&c, stream), stream, async);
}
SYNC_API(cudaMemcpy3DPeer, (const struct cudaMemcpy3DPeerParms *p), (p)) { return copy_3d_peer(p, stream, false); }
STREAM_API(cudaMemcpy3DPeerAsync, (const struct cudaMemcpy3DPeerParms *p, cudaStream_t stream), (p, stream))
{
    return copy_3d_peer(p, stream, true);
}

/* --- batches */
SAME_LAYOUT(struct cudaMemcpyAttributes, CUmemcpyAttributes);
#if CUDART_VERSION < 13000
STREAM_API(cudaMemcpyBatchAsync, (void **dsts, void **srcs, size_t *sizes, size_t count, struct cudaMemcpyAttributes *attrs,
           size_t *indices, size_t attr_count, size_t *failed, cudaStream_t stream),
           (dsts, srcs, sizes, count, attrs, indices, attr_count, failed, stream))
{
#else
STREAM_API(cudaMemcpyBatchAsync, (void *const *dsts, const void *const *srcs, const size_t *sizes, size_t count,
           struct cudaMemcpyAttributes *attrs, size_t *indices, size_t attr_count, cudaStream_t stream),
           (dsts, srcs, sizes, count, attrs, indices, attr_count, stream))
{
    size_t failed_here, *failed = &failed_here;
#endif
    return rt(DRV(cuMemcpyBatchAsync)((CUdeviceptr *)dsts, (CUdeviceptr *)srcs, (size_t *)sizes, count,
                                      (CUmemcpyAttributes *)attrs, indices, attr_count, failed, stream));
}

/* --- fills */
static cudaError_t fill(void *dst, int value, size_t n, CUstream stream, bool async)
{
    if (!n)
        return cudaSuccess;
    if (!async && !stream)
        return rt(DRV(cuMemsetD8)((CUdeviceptr)dst, (unsigned char)value, n));
    return finish(DRV(cuMemsetD8Async)((CUdeviceptr)dst, (unsigned char)value, n, stream), stream, async);
}
static cudaError_t fill_2d(void *dst, size_t pitch, int value, size_t w, size_t h, CUstream stream, bool async)
{
    if (w > pitch && h > 1)
        return cudaErrorInvalidPitchValue;
    if (!w || !h)
        return cudaSuccess;
    if (!async && !stream)
        return rt(DRV(cuMemsetD2D8)((CUdeviceptr)dst, pitch, (unsigned char)value, w, h));
    return finish(DRV(cuMemsetD2D8Async)((CUdeviceptr)dst, pitch, (unsigned char)value, w, h, stream), stream, async);
}
static cudaError_t fill_3d(struct cudaPitchedPtr p, int value, struct cudaExtent e, CUstream stream, bool async)
{
    for (size_t z = 0; z < e.depth; z++)
        TRY(fill_2d((char *)p.ptr + z * p.pitch * p.ysize, p.pitch, value, e.width, e.height, stream, async));
    return cudaSuccess;
}

SYNC_API(cudaMemset, (void *dst, int value, size_t n), (dst, value, n)) { return fill(dst, value, n, stream, false); }
STREAM_API(cudaMemsetAsync, (void *dst, int value, size_t n, cudaStream_t stream), (dst, value, n, stream))
{
    return fill(dst, value, n, stream, true);
}
SYNC_API(cudaMemset2D, (void *dst, size_t pitch, int value, size_t w, size_t h), (dst, pitch, value, w, h))
{
    return fill_2d(dst, pitch, value, w, h, stream, false);
}
STREAM_API(cudaMemset2DAsync, (void *dst, size_t pitch, int value, size_t w, size_t h, cudaStream_t stream),
           (dst, pitch, value, w, h, stream))
{
    return fill_2d(dst, pitch, value, w, h, stream, true);
}
SYNC_API(cudaMemset3D, (struct cudaPitchedPtr p, int value, struct cudaExtent extent), (p, value, extent))
{
    return fill_3d(p, value, extent, stream, false);
}
STREAM_API(cudaMemset3DAsync, (struct cudaPitchedPtr p, int value, struct cudaExtent extent, cudaStream_t stream),
           (p, value, extent, stream))
{
    return fill_3d(p, value, extent, stream, true);
}
