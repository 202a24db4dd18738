/* blas.h: what simulated cuBLAS and cuBLASLt share.
 * Neither computes. A *work item* is one launch of an empty kernel on the caller's stream, so that a call takes its place
 * and its time among the stream's work. The real libraries carry their own static runtime; these go to the driver by
 * themselves, through cuGetProcAddress like any runtime. Names and status numbers are those of the public documentation. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <cuda.h>
#include <cudaTypedefs.h>

typedef enum {
    OK = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, ARCH_MISMATCH = 8, MAPPING_ERROR = 11,
    EXECUTION_FAILED = 13, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15, LICENSE_ERROR = 16
} blas_status;

struct blas_driver {
#define D(name, version) PFN_##name##_v##version fn_##name;
#include "driver_functions.def"
#undef D
};
extern struct blas_driver blas_driver;
#define DRV(name) (blas_driver.fn_##name)

blas_status blas_enter(void);               /* driver loaded, a context current */
blas_status blas_work(CUstream stream);     /* one work item */
blas_status blas_status_of(CUresult result);
