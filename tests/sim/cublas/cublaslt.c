/* cublaslt.c: simulated cuBLASLt. A *descriptor* (operation, layout, preference) is a bag of attributes, stored as given and
 * handed back; the heuristic offers one algorithm that needs no workspace; matmul takes time on its stream. */
#include "blas.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef BLAS_VERSION
#define BLAS_VERSION 130000
#endif

enum { ATTRIBUTES = 64, ATTRIBUTE_BYTES = 16 };
struct descriptor { /* fits the public opaque structs, which are at least 64 bytes: attributes beyond these are dropped */
    unsigned char *values; /* ATTRIBUTES x ATTRIBUTE_BYTES, NULL for one that was initialised in place */
};

static blas_status make(struct descriptor **out)
{
    struct descriptor *d = out ? calloc(1, sizeof *d) : NULL;
    if (!d || !(d->values = calloc(ATTRIBUTES, ATTRIBUTE_BYTES))) {
        free(d);
        return out ? ALLOC_FAILED : INVALID_VALUE;
    }
    *out = d;
    return OK;
}
static blas_status drop(struct descriptor *d)
{
    if (d)
        free(d->values);
    free(d);
    return OK;
}
static blas_status set(struct descriptor *d, int which, const void *value, size_t size)
{
    if (!d || !value)
        return INVALID_VALUE;
    if (d->values && which >= 0 && which < ATTRIBUTES && size <= ATTRIBUTE_BYTES)
        memcpy(d->values + which * ATTRIBUTE_BYTES, value, size);
    return OK;
}
static blas_status get(struct descriptor *d, int which, void *value, size_t size, size_t *written)
{
    if (!d || (!value && !written))
        return INVALID_VALUE;
    if (written)
        *written = size;
    if (value && d->values && which >= 0 && which < ATTRIBUTES && size <= ATTRIBUTE_BYTES)
        memcpy(value, d->values + which * ATTRIBUTE_BYTES, size);
    return OK;
}
static blas_status init_in_place(void *place, size_t size)
{
    if (!place || size < sizeof(struct descriptor))
        return INVALID_VALUE;
    memset(place, 0, size);
    return OK;
}

/* The four kinds differ in what their Create takes, which is not needed here. */
#define PARAMETERS_MatmulDesc struct descriptor **out, int compute_type, int scale_type
#define PARAMETERS_MatmulPreference struct descriptor **out
#define PARAMETERS_MatrixTransformDesc struct descriptor **out, int scale_type
#define PARAMETERS_MatrixLayout struct descriptor **out, int type, uint64_t rows, uint64_t cols, int64_t ld
#define DESCRIPTOR(Kind) \
    blas_status cublasLt##Kind##Create(PARAMETERS_##Kind) { return make(out); } \
    blas_status cublasLt##Kind##Destroy(struct descriptor *d) { return drop(d); } \
    blas_status cublasLt##Kind##Init_internal(void *place, size_t size) { return init_in_place(place, size); } \
    blas_status cublasLt##Kind##SetAttribute(struct descriptor *d, int which, const void *value, size_t size) { return set(d, which, value, size); } \
    blas_status cublasLt##Kind##GetAttribute(struct descriptor *d, int which, void *value, size_t size, size_t *written) \
    { \
        return get(d, which, value, size, written); \
    }
DESCRIPTOR(MatmulDesc)
DESCRIPTOR(MatmulPreference)
DESCRIPTOR(MatrixTransformDesc)
DESCRIPTOR(MatrixLayout)

/* --- handles and versions */
blas_status cublasLtCreate(void **out)
{
    blas_status status = out ? blas_enter() : INVALID_VALUE;
    return status ? status : (*out = calloc(1, 64)) ? OK : ALLOC_FAILED;
}
blas_status cublasLtDestroy(void *handle) { free(handle); return OK; }
size_t cublasLtGetVersion(void) { return BLAS_VERSION; }
size_t cublasLtGetCudartVersion(void) { return CUDA_VERSION; }
blas_status cublasLtGetProperty(int which, int *value)
{
    int parts[] = { BLAS_VERSION / 10000, BLAS_VERSION / 100 % 100, BLAS_VERSION % 100 };
    if (!value || which < 0 || which > 2)
        return INVALID_VALUE;
    *value = parts[which];
    return OK;
}
const char *cublasLtGetStatusName(blas_status status) { return status ? "CUBLAS_STATUS_ERROR" : "CUBLAS_STATUS_SUCCESS"; }
const char *cublasLtGetStatusString(blas_status status) { return status ? "failed" : "success"; }
unsigned cublasLtDisableCpuInstructionsSetMask(unsigned mask) { return mask; }
blas_status cublasLtHeuristicsCacheGetCapacity(size_t *capacity) { return capacity ? *capacity = 0, OK : INVALID_VALUE; }
blas_status cublasLtHeuristicsCacheSetCapacity(size_t capacity) { (void)capacity; return OK; }
blas_status cublasLtLoggerSetCallback(void *callback) { (void)callback; return OK; }
blas_status cublasLtLoggerSetFile(void *file) { (void)file; return OK; }
blas_status cublasLtLoggerOpenFile(const char *name) { (void)name; return OK; }
blas_status cublasLtLoggerSetLevel(int level) { (void)level; return OK; }
blas_status cublasLtLoggerSetMask(int mask) { (void)mask; return OK; }
blas_status cublasLtLoggerForceDisable(void) { return OK; }

/* --- algorithms */
struct algorithm { uint64_t data[8]; };
struct heuristic_result { /* cublasLtMatmulHeuristicResult_t of the documentation */
    struct algorithm algo;
    size_t workspace_size;
    blas_status state;
    float waves;
    int reserved[4];
};
blas_status cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                           int wanted, struct heuristic_result results[], int *got)
{
    (void)handle, (void)operation, (void)a, (void)b, (void)c, (void)d, (void)preference;
    if (!results || !got || wanted < 1)
        return INVALID_VALUE;
    memset(results, 0, sizeof *results);
    results->waves = 1.0f;
    *got = 1;
    return OK;
}
blas_status cublasLtMatmulAlgoGetIds(void *handle, int compute, int scale, int a, int b, int c, int d, int wanted, int ids[], int *got)
{
    (void)handle, (void)compute, (void)scale, (void)a, (void)b, (void)c, (void)d;
    if (!ids || !got || wanted < 1)
        return INVALID_VALUE;
    ids[0] = 0;
    *got = 1;
    return OK;
}
blas_status cublasLtMatmulAlgoInit(void *handle, int compute, int scale, int a, int b, int c, int d, int id, struct algorithm *algo)
{
    (void)handle, (void)compute, (void)scale, (void)a, (void)b, (void)c, (void)d, (void)id;
    return algo ? memset(algo, 0, sizeof *algo), OK : INVALID_VALUE;
}
blas_status cublasLtMatmulAlgoCheck(void *handle, void *operation, void *a, void *b, void *c, void *d, const struct algorithm *algo,
                                    struct heuristic_result *result)
{
    (void)handle, (void)operation, (void)a, (void)b, (void)c, (void)d;
    if (!algo || !result)
        return INVALID_VALUE;
    memset(result, 0, sizeof *result);
    result->algo = *algo;
    return OK;
}
blas_status cublasLtMatmulAlgoConfigSetAttribute(struct algorithm *algo, int which, const void *value, size_t size)
{
    (void)which, (void)size;
    return algo && value ? OK : INVALID_VALUE;
}
static blas_status zero_out(void *value, size_t size, size_t *written)
{
    if (value)
        memset(value, 0, size);
    if (written)
        *written = size;
    return value || written ? OK : INVALID_VALUE;
}
blas_status cublasLtMatmulAlgoConfigGetAttribute(const struct algorithm *algo, int which, void *value, size_t size, size_t *written)
{
    (void)algo, (void)which;
    return zero_out(value, size, written);
}
blas_status cublasLtMatmulAlgoCapGetAttribute(const struct algorithm *algo, int which, void *value, size_t size, size_t *written)
{
    (void)algo, (void)which;
    return zero_out(value, size, written);
}

/* --- work */
blas_status cublasLtMatmul(void *handle, void *operation, const void *alpha, const void *a, void *la, const void *b, void *lb,
                           const void *beta, const void *c, void *lc, void *d, void *ld, const struct algorithm *algo,
                           void *workspace, size_t workspace_size, CUstream stream)
{
    (void)alpha, (void)a, (void)la, (void)b, (void)lb, (void)beta, (void)c, (void)lc, (void)d, (void)ld, (void)algo;
    (void)workspace, (void)workspace_size;
    blas_status status = handle && operation ? blas_enter() : INVALID_VALUE;
    return status ? status : blas_work(stream);
}
blas_status cublasLtMatrixTransform(void *handle, void *operation, const void *alpha, const void *a, void *la, const void *beta,
                                    const void *b, void *lb, void *c, void *lc, CUstream stream)
{
    (void)alpha, (void)a, (void)la, (void)beta, (void)b, (void)lb, (void)c, (void)lc;
    blas_status status = handle && operation ? blas_enter() : INVALID_VALUE;
    return status ? status : blas_work(stream);
}
