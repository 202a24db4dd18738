/* array.c: CUDA arrays. Their memory is counted like any other; their layout is ours, since nobody can see it. */
#include "array.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

static size_t element_size(CUarray_format format) {
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8: case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16: case CU_AD_FORMAT_SIGNED_INT16: case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32: case CU_AD_FORMAT_SIGNED_INT32: case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
    }
}

char *array_row(struct CUarray_st *a, size_t x, size_t y, size_t z, size_t width) {
    if (!is(a, ARRAY) || x + width > a->pitch || y >= a->rows || z >= a->slices) return NULL;
    return a->bytes + (z * a->rows + y) * a->pitch + x;
}

CUresult DRV(cuArray3DCreate_v2)(CUarray *out, const CUDA_ARRAY3D_DESCRIPTOR *d) {
    CUcontext c;
    if (!out || !d || !d->Width || !element_size(d->Format)) return CUDA_ERROR_INVALID_VALUE;
    if (d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    size_t pitch = d->Width * element_size(d->Format) * d->NumChannels, rows = MAX(d->Height, 1), slices = MAX(d->Depth, 1);
    size_t bytes = pitch * rows * slices;
    if (!device_charge(c->device, bytes, charge_for(bytes))) return CUDA_ERROR_OUT_OF_MEMORY;
    struct CUarray_st *a = object_new(ARRAY, sizeof *a);
    a->shape = *d;
    a->pitch = pitch, a->rows = rows, a->slices = slices;
    a->reserved = charge_for(bytes);
    a->bytes = calloc(1, bytes);
    a->context = c;
    *out = (CUarray)a;
    return CUDA_SUCCESS;
}

CUresult DRV(cuArrayCreate_v2)(CUarray *out, const CUDA_ARRAY_DESCRIPTOR *d) {
    if (!d) return CUDA_ERROR_INVALID_VALUE;
    CUDA_ARRAY3D_DESCRIPTOR three = { .Width = d->Width, .Height = d->Height, .Format = d->Format, .NumChannels = d->NumChannels };
    return DRV(cuArray3DCreate_v2)(out, &three);
}

CUresult DRV(cuArrayDestroy)(CUarray handle) {
    struct CUarray_st *a = (struct CUarray_st *)handle;
    if (!is(a, ARRAY)) return CUDA_ERROR_INVALID_HANDLE;
    device_synchronize(a->context->device);
    free(a->bytes);
    device_uncharge(a->context->device, a->pitch * a->rows * a->slices, a->reserved);
    object_free(a);
    return CUDA_SUCCESS;
}

CUresult DRV(cuArray3DGetDescriptor_v2)(CUDA_ARRAY3D_DESCRIPTOR *out, CUarray handle) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!is(handle, ARRAY)) return CUDA_ERROR_INVALID_HANDLE;
    *out = ((struct CUarray_st *)handle)->shape;
    return CUDA_SUCCESS;
}

CUresult DRV(cuArrayGetDescriptor_v2)(CUDA_ARRAY_DESCRIPTOR *out, CUarray handle) {
    CUDA_ARRAY3D_DESCRIPTOR d;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(DRV(cuArray3DGetDescriptor_v2)(&d, handle));
    *out = (CUDA_ARRAY_DESCRIPTOR){ .Width = d.Width, .Height = d.Height, .Format = d.Format, .NumChannels = d.NumChannels };
    return CUDA_SUCCESS;
}
