/* headers.c: only preprocessed, for gen_driver.py: every name and version that the public headers declare. */
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <cudaProfiler.h>
#include <cudaTypedefs.h>
#include <cudaProfilerTypedefs.h>
