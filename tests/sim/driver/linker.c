/* linker.c: the just-in-time linker. It keeps PTX text in order of addition and "links" it by joining; other inputs add nothing.
 * Tensor maps are encoded as far as a program can tell: the arguments are looked at, the opaque 128 bytes are ours. */
#include "module.h"
#include <stdlib.h>
#include <string.h>

struct CUlinkState_st { struct object object; char *text; size_t length; };

CUresult DRV(cuLinkCreate_v2)(unsigned count, CUjit_option *options, void **values, CUlinkState *out) {
    (void)values;
    if (!out || (count && !options)) return CUDA_ERROR_INVALID_VALUE;
    struct CUlinkState_st *l = object_new(LINKER, sizeof *l);
    l->text = calloc(1, 1);
    *out = l;
    return CUDA_SUCCESS;
}

CUresult DRV(cuLinkAddData_v2)(CUlinkState l, CUjitInputType type, void *data, size_t size, const char *name, unsigned count,
                               CUjit_option *options, void **values) {
    (void)name, (void)options, (void)values;
    if (!is(l, LINKER)) return CUDA_ERROR_INVALID_HANDLE;
    if (!data || !size || (count && !options)) return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_JIT_INPUT_PTX) return CUDA_SUCCESS;
    l->text = realloc(l->text, l->length + size + 2);
    memcpy(l->text + l->length, data, size);
    l->length += size;
    while (l->length && !l->text[l->length - 1]) l->length--;
    l->text[l->length++] = '\n';
    l->text[l->length] = 0;
    return CUDA_SUCCESS;
}

CUresult DRV(cuLinkComplete)(CUlinkState l, void **image, size_t *size) {
    if (!is(l, LINKER)) return CUDA_ERROR_INVALID_HANDLE;
    if (!image) return CUDA_ERROR_INVALID_VALUE;
    *image = l->text;
    if (size) *size = l->length + 1;
    return CUDA_SUCCESS;
}

CUresult DRV(cuLinkDestroy)(CUlinkState l) {
    if (!is(l, LINKER)) return CUDA_ERROR_INVALID_HANDLE;
    free(l->text);
    object_free(l);
    return CUDA_SUCCESS;
}

/* ---- tensor maps */
static CUresult encode(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *dim) {
    if (!map || !address || !dim || rank < 1 || rank > 5 || (uintptr_t)address % 16) return CUDA_ERROR_INVALID_VALUE;
    for (cuuint32_t i = 0; i < rank; i++)
        if (dim[i] == 0 || dim[i] > 1ull << 32) return CUDA_ERROR_INVALID_VALUE;
    memset(map, 0, sizeof *map);
    map->opaque[0] = (cuuint64_t)(uintptr_t)address;
    map->opaque[1] = (cuuint64_t)type << 32 | rank;
    for (cuuint32_t i = 0; i < rank; i++) map->opaque[2 + i] = dim[i];
    return CUDA_SUCCESS;
}

CUresult DRV(cuTensorMapEncodeTiled)(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *dim,
                                     const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *element_strides,
                                     CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                     CUtensorMapFloatOOBfill fill) {
    (void)strides, (void)interleave, (void)swizzle, (void)promotion, (void)fill;
    if (!box || !element_strides) return CUDA_ERROR_INVALID_VALUE;
    return encode(map, type, rank, address, dim);
}

CUresult DRV(cuTensorMapEncodeIm2col)(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *dim,
                                      const cuuint64_t *strides, const int *lower, const int *upper, cuuint32_t channels,
                                      cuuint32_t pixels, const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
    (void)strides, (void)channels, (void)pixels, (void)interleave, (void)swizzle, (void)promotion, (void)fill;
    if (!lower || !upper || !element_strides || rank < 3) return CUDA_ERROR_INVALID_VALUE;
    return encode(map, type, rank, address, dim);
}

CUresult DRV(cuTensorMapReplaceAddress)(CUtensorMap *map, void *address) {
    if (!map || !address || (uintptr_t)address % 16) return CUDA_ERROR_INVALID_VALUE;
    map->opaque[0] = (cuuint64_t)(uintptr_t)address;
    return CUDA_SUCCESS;
}
