/* array.h: CUDA arrays, as far as copies go: opaque memory with rows, columns and slices. */
#ifndef SIM_ARRAY_H
#define SIM_ARRAY_H
#include "sim.h"
struct CUarray_st { struct object object; CUDA_ARRAY3D_DESCRIPTOR shape; size_t pitch, rows, slices; char *bytes; u64 reserved; CUcontext context; };
char *array_row(struct CUarray_st *array, size_t x, size_t y, size_t z, size_t width);       /* NULL: outside */
#endif
