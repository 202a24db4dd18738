/* copy.c: copies and fills. Every form of copy is one CUDA_MEMCPY3D; every form of fill one CUDA_MEMSET_NODE_PARAMS.
 * Device ranges are looked up when the work runs, not when it is submitted: a block freed meanwhile is an illegal address.
 * A copy from pageable memory takes its bytes at submission (up to 64 KiB) or is waited for; one to pageable memory is
 * waited for; only page-locked memory is copied behind the program's back. */
#include "work.h"
#include "array.h"
#include "capture.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

enum { STAGE_LIMIT = 64 << 10 };

static bool device_address(CUmemorytype type, u64 p) {
    return type == CU_MEMORYTYPE_DEVICE || (type == CU_MEMORYTYPE_UNIFIED && in_window(p));
}

/* Row `y` of slice `z` of one side, or NULL when it may not be touched. */
struct side { CUmemorytype type; u64 base; struct CUarray_st *array; size_t x, y, z, pitch, rows; };

static char *row(const struct side *s, size_t y, size_t z, size_t width, bool write) {
    if (s->type == CU_MEMORYTYPE_ARRAY) return array_row(s->array, s->x, s->y + y, s->z + z, width);
    u64 p = s->base + s->x + (s->y + y) * s->pitch + (s->z + z) * s->pitch * s->rows;
    if (!device_address(s->type, p)) return (char *)(uintptr_t)p;
    if (in_window(p)) return space_touch(p, width, write);
    return host_find((void *)(uintptr_t)p, NULL) ? (char *)(uintptr_t)p : NULL;
}

static struct side source(const CUDA_MEMCPY3D *c) {
    u64 base = c->srcMemoryType == CU_MEMORYTYPE_HOST ? (u64)(uintptr_t)c->srcHost : c->srcDevice;
    return (struct side){ c->srcMemoryType, base, (struct CUarray_st *)c->srcArray, c->srcXInBytes, c->srcY, c->srcZ,
                          c->srcPitch ? c->srcPitch : c->WidthInBytes, c->srcHeight ? c->srcHeight : c->Height };
}

static struct side destination(const CUDA_MEMCPY3D *c) {
    u64 base = c->dstMemoryType == CU_MEMORYTYPE_HOST ? (u64)(uintptr_t)c->dstHost : c->dstDevice;
    return (struct side){ c->dstMemoryType, base, (struct CUarray_st *)c->dstArray, c->dstXInBytes, c->dstY, c->dstZ,
                          c->dstPitch ? c->dstPitch : c->WidthInBytes, c->dstHeight ? c->dstHeight : c->Height };
}

CUresult copy_run(const struct work *w) {
    const CUDA_MEMCPY3D *c = &w->copy;
    struct side from = source(c), to = destination(c);
    if (w->staged) {
        from.type = CU_MEMORYTYPE_HOST;
        from.base = (u64)(uintptr_t)w->staged;
    }
    for (size_t z = 0; z < c->Depth; z++)
        for (size_t y = 0; y < c->Height; y++) {
            char *a = row(&from, y, z, c->WidthInBytes, false), *b = row(&to, y, z, c->WidthInBytes, true);
            if (!a || !b) {
                sim_misuse("a copy of %zu bytes touches memory that is not there (%s, %#llx)", c->WidthInBytes,
                           a ? "destination" : "source", a ? to.base : from.base);
                return CUDA_ERROR_ILLEGAL_ADDRESS;
            }
            memmove(b, a, c->WidthInBytes);
        }
    return CUDA_SUCCESS;
}

CUresult fill_run(const struct work *w) {
    const CUDA_MEMSET_NODE_PARAMS *f = &w->fill;
    for (size_t y = 0; y < f->height; y++) {
        size_t bytes = f->width * f->elementSize;
        u64 p = f->dst + y * f->pitch;
        char *to = in_window(p) ? space_touch(p, bytes, true) : host_find((void *)(uintptr_t)p, NULL) ? (char *)(uintptr_t)p : NULL;
        if (!to) {
            sim_misuse("a fill of %zu bytes touches memory that is not there (%#llx)", bytes, p);
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        }
        if (f->elementSize == 1 || f->value == 0) memset(to, (int)f->value, bytes);
        else for (size_t i = 0; i < f->width; i++) memcpy(to + i * f->elementSize, &f->value, f->elementSize);
    }
    return CUDA_SUCCESS;
}

/* ---- submission */
static bool pageable(CUmemorytype type, u64 p, size_t size) {
    return !device_address(type, p) && type != CU_MEMORYTYPE_ARRAY && !host_is_pinned((void *)(uintptr_t)p, size);
}

static size_t extent(const CUDA_MEMCPY3D *c) { return c->WidthInBytes * c->Height * c->Depth; }

bool copy_valid(const CUDA_MEMCPY3D *c) {
    if (c->srcMemoryType < 1 || c->srcMemoryType > 4 || c->dstMemoryType < 1 || c->dstMemoryType > 4) return false;
    if (c->srcPitch && c->srcPitch < c->WidthInBytes && c->Height > 1) return false;
    if (c->dstPitch && c->dstPitch < c->WidthInBytes && c->Height > 1) return false;
    if (extent(c) == 0) return true;
    struct side from = source(c), to = destination(c);
    if (from.type == CU_MEMORYTYPE_ARRAY ? !is(from.array, ARRAY) : !from.base) return false;
    return to.type == CU_MEMORYTYPE_ARRAY ? is(to.array, ARRAY) : to.base != 0;
}

/* A real driver waits for the whole copy where the other side is pageable memory that it cannot stage. */
static int prepare(struct work *w, int how) {
    const CUDA_MEMCPY3D *c = &w->copy;
    struct side from = source(c), to = destination(c);
    size_t bytes = extent(c);
    if (pageable(to.type, to.base, bytes)) return WORK_SYNC;
    if (how == WORK_SYNC) return WORK_SYNC;
    if (!pageable(from.type, from.base, bytes)) return WORK_ASYNC;
    if (c->Height != 1 || c->Depth != 1 || bytes > STAGE_LIMIT || from.x || from.y || from.z) return WORK_SYNC;
    w->staged = malloc(bytes);
    memcpy(w->staged, (void *)(uintptr_t)from.base, bytes);
    return WORK_ASYNC;
}



CUresult copy_submit(CUstream handle, const CUDA_MEMCPY3D *copy, int how) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    if (!copy_valid(copy)) return CUDA_ERROR_INVALID_VALUE;
    if (extent(copy) == 0) return CUDA_SUCCESS;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEMCPY, .copy = *copy };
    if (how == WORK_SYNC) TRY(capture_refuse_legacy(s));
    if (!capture_is_active(s)) how = prepare(&w, how);
    return work_submit(s, &w, how);
}

static CUDA_MEMCPY3D linear(CUmemorytype to_type, u64 to, CUmemorytype from_type, u64 from, size_t size) {
    CUDA_MEMCPY3D c = { .WidthInBytes = size, .Height = 1, .Depth = 1, .srcMemoryType = from_type, .dstMemoryType = to_type };
    if (from_type == CU_MEMORYTYPE_HOST) c.srcHost = (void *)(uintptr_t)from; else c.srcDevice = from;
    if (to_type == CU_MEMORYTYPE_HOST) c.dstHost = (void *)(uintptr_t)to; else c.dstDevice = to;
    return c;
}

static CUresult copy_linear(CUstream handle, CUmemorytype tt, u64 to, CUmemorytype ft, u64 from, size_t size, int how) {
    CUDA_MEMCPY3D c = linear(tt, to, ft, from, size);
    return copy_submit(handle, &c, how);
}

#define DEV CU_MEMORYTYPE_DEVICE
#define HOST CU_MEMORYTYPE_HOST
#define ANY CU_MEMORYTYPE_UNIFIED
#define ADDR(p) ((u64)(uintptr_t)(p))

CUresult DRV(cuMemcpy)(CUdeviceptr to, CUdeviceptr from, size_t n) { return copy_linear(NULL, ANY, to, ANY, from, n, WORK_SYNC); }
CUresult DRV(cuMemcpyAsync)(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) { return copy_linear(s, ANY, to, ANY, from, n, WORK_ASYNC); }
CUresult DRV(cuMemcpyHtoD_v2)(CUdeviceptr to, const void *from, size_t n) { return copy_linear(NULL, DEV, to, HOST, ADDR(from), n, WORK_SYNC); }
CUresult DRV(cuMemcpyDtoH_v2)(void *to, CUdeviceptr from, size_t n) { return copy_linear(NULL, HOST, ADDR(to), DEV, from, n, WORK_SYNC); }
/* Between device addresses a "synchronous" copy is not waited for: documented under API synchronization behavior. */
CUresult DRV(cuMemcpyDtoD_v2)(CUdeviceptr to, CUdeviceptr from, size_t n) { return copy_linear(NULL, DEV, to, DEV, from, n, WORK_ASYNC); }
CUresult DRV(cuMemcpyHtoDAsync_v2)(CUdeviceptr to, const void *from, size_t n, CUstream s) { return copy_linear(s, DEV, to, HOST, ADDR(from), n, WORK_ASYNC); }
CUresult DRV(cuMemcpyDtoHAsync_v2)(void *to, CUdeviceptr from, size_t n, CUstream s) { return copy_linear(s, HOST, ADDR(to), DEV, from, n, WORK_ASYNC); }
CUresult DRV(cuMemcpyDtoDAsync_v2)(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) { return copy_linear(s, DEV, to, DEV, from, n, WORK_ASYNC); }

static CUresult peers_usable(CUcontext a, CUcontext b) {
    TRY(context_usable(a));
    return context_usable(b);
}

CUresult DRV(cuMemcpyPeer)(CUdeviceptr to, CUcontext tc, CUdeviceptr from, CUcontext fc, size_t n) {
    TRY(peers_usable(tc, fc));
    return copy_linear(NULL, ANY, to, ANY, from, n, WORK_ASYNC);
}

CUresult DRV(cuMemcpyPeerAsync)(CUdeviceptr to, CUcontext tc, CUdeviceptr from, CUcontext fc, size_t n, CUstream s) {
    TRY(peers_usable(tc, fc));
    return copy_linear(s, ANY, to, ANY, from, n, WORK_ASYNC);
}

static CUDA_MEMCPY3D from_2d(const CUDA_MEMCPY2D *p) {
    return (CUDA_MEMCPY3D){ .srcXInBytes = p->srcXInBytes, .srcY = p->srcY, .srcMemoryType = p->srcMemoryType, .srcHost = p->srcHost,
        .srcDevice = p->srcDevice, .srcArray = p->srcArray, .srcPitch = p->srcPitch, .dstXInBytes = p->dstXInBytes, .dstY = p->dstY,
        .dstMemoryType = p->dstMemoryType, .dstHost = p->dstHost, .dstDevice = p->dstDevice, .dstArray = p->dstArray,
        .dstPitch = p->dstPitch, .WidthInBytes = p->WidthInBytes, .Height = p->Height, .Depth = 1 };
}

static CUDA_MEMCPY3D from_peer(const CUDA_MEMCPY3D_PEER *p) {
    return (CUDA_MEMCPY3D){ .srcXInBytes = p->srcXInBytes, .srcY = p->srcY, .srcZ = p->srcZ, .srcMemoryType = p->srcMemoryType,
        .srcHost = p->srcHost, .srcDevice = p->srcDevice, .srcArray = p->srcArray, .srcPitch = p->srcPitch, .srcHeight = p->srcHeight,
        .dstXInBytes = p->dstXInBytes, .dstY = p->dstY, .dstZ = p->dstZ, .dstMemoryType = p->dstMemoryType, .dstHost = p->dstHost,
        .dstDevice = p->dstDevice, .dstArray = p->dstArray, .dstPitch = p->dstPitch, .dstHeight = p->dstHeight,
        .WidthInBytes = p->WidthInBytes, .Height = p->Height, .Depth = p->Depth };
}

static CUresult copy_2d(const CUDA_MEMCPY2D *p, CUstream s, int how) {
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    CUDA_MEMCPY3D c = from_2d(p);
    return copy_submit(s, &c, how);
}

CUresult DRV(cuMemcpy2D_v2)(const CUDA_MEMCPY2D *p) { return copy_2d(p, NULL, WORK_SYNC); }
CUresult DRV(cuMemcpy2DUnaligned_v2)(const CUDA_MEMCPY2D *p) { return copy_2d(p, NULL, WORK_SYNC); }
CUresult DRV(cuMemcpy2DAsync_v2)(const CUDA_MEMCPY2D *p, CUstream s) { return copy_2d(p, s, WORK_ASYNC); }
CUresult DRV(cuMemcpy3D_v2)(const CUDA_MEMCPY3D *p) { return p ? copy_submit(NULL, p, WORK_SYNC) : CUDA_ERROR_INVALID_VALUE; }
CUresult DRV(cuMemcpy3DAsync_v2)(const CUDA_MEMCPY3D *p, CUstream s) { return p ? copy_submit(s, p, WORK_ASYNC) : CUDA_ERROR_INVALID_VALUE; }

CUresult DRV(cuMemcpy3DPeerAsync)(const CUDA_MEMCPY3D_PEER *p, CUstream s) {
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    CUDA_MEMCPY3D c = from_peer(p);
    return copy_submit(s, &c, WORK_ASYNC);
}

CUresult DRV(cuMemcpy3DPeer)(const CUDA_MEMCPY3D_PEER *p) {
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    CUDA_MEMCPY3D c = from_peer(p);
    return copy_submit(NULL, &c, WORK_SYNC);
}

static CUresult copy_batch(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, CUstream s) {
    if (!to || !from || !sizes || !count) return CUDA_ERROR_INVALID_VALUE;
    if ((uintptr_t)s <= 1 && !self.per_thread) return CUDA_ERROR_INVALID_VALUE;      /* the legacy stream is not allowed */
    for (size_t i = 0; i < count; i++) TRY(copy_linear(s, ANY, to[i], ANY, from[i], sizes[i], WORK_ASYNC));
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemcpyBatchAsync_v2)(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, CUmemcpyAttributes *attributes,
                                    size_t *indices, size_t attribute_count, CUstream s) {
    (void)attributes, (void)indices, (void)attribute_count;
    return copy_batch(to, from, sizes, count, s);
}

CUresult DRV(cuMemcpyBatchAsync)(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, CUmemcpyAttributes *attributes,
                                 size_t *indices, size_t attribute_count, size_t *failed, CUstream s) {
    (void)attributes, (void)indices, (void)attribute_count;
    if (failed) *failed = (size_t)-1;
    return copy_batch(to, from, sizes, count, s);
}

/* ---- fills. On device memory they are asynchronous to the host in either form. */
static CUresult fill(CUdeviceptr to, size_t pitch, unsigned value, unsigned element, size_t width, size_t height, CUstream handle, bool async) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    if (!async) TRY(capture_refuse_legacy(s));
    if (to % element || (height > 1 && pitch < width * element)) return CUDA_ERROR_INVALID_VALUE;
    if (width == 0 || height == 0) return CUDA_SUCCESS;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEMSET };
    w.fill = (CUDA_MEMSET_NODE_PARAMS){ .dst = to, .pitch = pitch, .value = value, .elementSize = element, .width = width, .height = height };
    return work_submit(s, &w, !async && !in_window(to) ? WORK_SYNC : WORK_ASYNC);
}

CUresult DRV(cuMemsetD8_v2)(CUdeviceptr p, unsigned char v, size_t n) { return fill(p, 0, v, 1, n, 1, NULL, false); }
CUresult DRV(cuMemsetD16_v2)(CUdeviceptr p, unsigned short v, size_t n) { return fill(p, 0, v, 2, n, 1, NULL, false); }
CUresult DRV(cuMemsetD32_v2)(CUdeviceptr p, unsigned v, size_t n) { return fill(p, 0, v, 4, n, 1, NULL, false); }
CUresult DRV(cuMemsetD8Async)(CUdeviceptr p, unsigned char v, size_t n, CUstream s) { return fill(p, 0, v, 1, n, 1, s, true); }
CUresult DRV(cuMemsetD16Async)(CUdeviceptr p, unsigned short v, size_t n, CUstream s) { return fill(p, 0, v, 2, n, 1, s, true); }
CUresult DRV(cuMemsetD32Async)(CUdeviceptr p, unsigned v, size_t n, CUstream s) { return fill(p, 0, v, 4, n, 1, s, true); }
CUresult DRV(cuMemsetD2D8_v2)(CUdeviceptr p, size_t pitch, unsigned char v, size_t w, size_t h) { return fill(p, pitch, v, 1, w, h, NULL, false); }
CUresult DRV(cuMemsetD2D16_v2)(CUdeviceptr p, size_t pitch, unsigned short v, size_t w, size_t h) { return fill(p, pitch, v, 2, w, h, NULL, false); }
CUresult DRV(cuMemsetD2D32_v2)(CUdeviceptr p, size_t pitch, unsigned v, size_t w, size_t h) { return fill(p, pitch, v, 4, w, h, NULL, false); }
CUresult DRV(cuMemsetD2D8Async)(CUdeviceptr p, size_t pitch, unsigned char v, size_t w, size_t h, CUstream s) { return fill(p, pitch, v, 1, w, h, s, true); }
CUresult DRV(cuMemsetD2D16Async)(CUdeviceptr p, size_t pitch, unsigned short v, size_t w, size_t h, CUstream s) { return fill(p, pitch, v, 2, w, h, s, true); }
CUresult DRV(cuMemsetD2D32Async)(CUdeviceptr p, size_t pitch, unsigned v, size_t w, size_t h, CUstream s) { return fill(p, pitch, v, 4, w, h, s, true); }

/* ---- arrays of one dimension, by byte offset */
static CUDA_MEMCPY3D strip(size_t n) { return (CUDA_MEMCPY3D){ .WidthInBytes = n, .Height = 1, .Depth = 1 }; }

static CUresult to_array(CUarray to, size_t at, CUmemorytype type, u64 from, CUarray from_array, size_t from_at, size_t n, CUstream s, int how) {
    CUDA_MEMCPY3D c = strip(n);
    c.dstMemoryType = CU_MEMORYTYPE_ARRAY, c.dstArray = to, c.dstXInBytes = at;
    c.srcMemoryType = type, c.srcArray = from_array, c.srcXInBytes = from_at;
    if (type == HOST) c.srcHost = (void *)(uintptr_t)from; else c.srcDevice = from;
    return copy_submit(s, &c, how);
}

static CUresult from_array(CUmemorytype type, u64 to, CUarray from, size_t at, size_t n, CUstream s, int how) {
    CUDA_MEMCPY3D c = strip(n);
    c.srcMemoryType = CU_MEMORYTYPE_ARRAY, c.srcArray = from, c.srcXInBytes = at, c.dstMemoryType = type;
    if (type == HOST) c.dstHost = (void *)(uintptr_t)to; else c.dstDevice = to;
    return copy_submit(s, &c, how);
}

CUresult DRV(cuMemcpyHtoA_v2)(CUarray to, size_t at, const void *from, size_t n) { return to_array(to, at, HOST, ADDR(from), NULL, 0, n, NULL, WORK_SYNC); }
CUresult DRV(cuMemcpyDtoA_v2)(CUarray to, size_t at, CUdeviceptr from, size_t n) { return to_array(to, at, DEV, from, NULL, 0, n, NULL, WORK_ASYNC); }
CUresult DRV(cuMemcpyAtoA_v2)(CUarray to, size_t at, CUarray from, size_t from_at, size_t n) { return to_array(to, at, CU_MEMORYTYPE_ARRAY, 0, from, from_at, n, NULL, WORK_ASYNC); }
CUresult DRV(cuMemcpyAtoH_v2)(void *to, CUarray from, size_t at, size_t n) { return from_array(HOST, ADDR(to), from, at, n, NULL, WORK_SYNC); }
CUresult DRV(cuMemcpyAtoD_v2)(CUdeviceptr to, CUarray from, size_t at, size_t n) { return from_array(DEV, to, from, at, n, NULL, WORK_ASYNC); }
CUresult DRV(cuMemcpyHtoAAsync_v2)(CUarray to, size_t at, const void *from, size_t n, CUstream s) { return to_array(to, at, HOST, ADDR(from), NULL, 0, n, s, WORK_ASYNC); }
CUresult DRV(cuMemcpyAtoHAsync_v2)(void *to, CUarray from, size_t at, size_t n, CUstream s) { return from_array(HOST, ADDR(to), from, at, n, s, WORK_ASYNC); }
