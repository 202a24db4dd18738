/* array.h: what copies need to know of an array: offsets and widths are in elements where an array takes part. */
#pragma once
#include "runtime.h"
cudaError_t rt_array_element(cudaArray_const_t array, size_t *bytes);
