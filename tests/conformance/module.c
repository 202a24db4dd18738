/* module.c: modules, libraries, functions, launches, occupancy. */
#include "conform.h"

static CUlibrary library(void) { CUlibrary l; kernels(); OK(cuLibraryLoadData(&l, kernels_text(), NULL, NULL, 0, NULL, NULL, 0)); return l; }
static CUresult launch(CUfunction f, unsigned grid, unsigned block, CUstream s) { unsigned long long ns = 0; void *args[] = { &ns }; return cuLaunchKernel(f, grid, 1, 1, block, 1, 1, 0, s, args, NULL); }

BEHAVIOUR(module_loads_text, MODULE) { begin(); CHECK(kernels() != NULL); }
BEHAVIOUR(null_image_is_invalid, MODULE) { CUmodule m; begin(); WANT(cuModuleLoadData(&m, NULL), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(function_is_found_by_name, MODULE) { begin(); CHECK(kernel("fill") && kernel("fill") == kernel("fill")); }
BEHAVIOUR(unknown_function_is_not_found, MODULE) { CUfunction f; begin(); WANT(cuModuleGetFunction(&f, kernels(), "nonsense"), CUDA_ERROR_NOT_FOUND); }
BEHAVIOUR(global_variable_has_address_and_size, MODULE) { CUdeviceptr p = 0; size_t n = 0; begin(); OK(cuModuleGetGlobal(&p, &n, kernels(), "table")); CHECK(p && n == 64); OK(cuMemsetD32(p, 1, 16)); CHECK(read_word(p + 60) == 1); }
BEHAVIOUR(global_variable_outputs_may_be_null, MODULE) { size_t n = 0; begin(); OK(cuModuleGetGlobal(NULL, &n, kernels(), "table")); CHECK(n == 64); }
BEHAVIOUR(unknown_global_is_not_found, MODULE) { CUdeviceptr p; size_t n; begin(); WANT(cuModuleGetGlobal(&p, &n, kernels(), "nonsense"), CUDA_ERROR_NOT_FOUND); }
BEHAVIOUR(function_knows_its_name, EXEC) { const char *s = NULL; begin(); OK(cuFuncGetName(&s, kernel("fill"))); CHECK(strcmp(s, "fill") == 0); }
BEHAVIOUR(function_knows_its_module, EXEC) { CUmodule m; begin(); OK(cuFuncGetModule(&m, kernel("fill"))); CHECK(m == kernels()); }
BEHAVIOUR(function_parameters_are_known, EXEC) { size_t o, n; begin(); OK(cuFuncGetParamInfo(kernel("fill"), 1, &o, &n)); CHECK(o == 8 && n == 4); FAILS(cuFuncGetParamInfo(kernel("fill"), 3, &o, &n)); }
BEHAVIOUR(function_attributes, EXEC) { int v = 0; begin(); OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel("fill"))); CHECK(v >= 32 && v <= 1024); }
BEHAVIOUR(dynamic_shared_memory_can_be_raised, EXEC) { int v = 0; begin(); OK(cuFuncSetAttribute(kernel("fill"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 65536)); OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kernel("fill"))); CHECK(v == 65536); }
BEHAVIOUR(launch_of_zero_blocks_is_invalid, EXEC) { begin(); WANT(launch(kernel("spin"), 0, 1, NULL), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(launch_of_too_many_threads_is_invalid, EXEC) { begin(); WANT(launch(kernel("spin"), 1, 4096, NULL), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(launch_parameters_are_copied, EXEC) { begin(); CUdeviceptr p; struct gate g; OK(cuMemAlloc(&p, 64)); CUstream s; kernels(); OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); gate_close(&g, s); launch_fill(p, 0x61, 4, s); gate_open(&g); CHECK(read_word(p) == 0x61); }
BEHAVIOUR(launch_takes_a_packed_buffer, EXEC) {
    begin();
    struct { CUdeviceptr p; unsigned v, n; } packed = { 0, 0x62, 4 };
    size_t size = sizeof packed;
    OK(cuMemAlloc(&packed.p, 64));
    void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END };
    OK(cuLaunchKernel(kernel("fill"), 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
    CHECK(read_word(packed.p) == 0x62);
}
BEHAVIOUR(extended_launch, EXEC) { begin(); CUdeviceptr p; unsigned v = 0x63, n = 4; OK(cuMemAlloc(&p, 64)); void *args[] = { &p, &v, &n }; CUlaunchConfig c = { .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 1, .blockDimY = 1, .blockDimZ = 1 }; OK(cuLaunchKernelEx(&c, kernel("fill"), args, NULL)); CHECK(read_word(p) == 0x63); }
BEHAVIOUR(unloaded_module_is_gone, MODULE) { CUmodule m; begin(); OK(cuModuleLoadData(&m, kernels_text())); OK(cuModuleUnload(m)); }
BEHAVIOUR(module_functions_are_counted, MODULE) { unsigned n = 0; begin(); OK(cuModuleGetFunctionCount(&n, kernels())); CHECK(n == 3); }
BEHAVIOUR(library_finds_kernels, LIBRARY) { CUkernel k = NULL; begin(); OK(cuLibraryGetKernel(&k, library(), "fill")); CHECK(k); }
BEHAVIOUR(library_unknown_kernel_is_not_found, LIBRARY) { CUkernel k; begin(); WANT(cuLibraryGetKernel(&k, library(), "nonsense"), CUDA_ERROR_NOT_FOUND); }
BEHAVIOUR(library_kernels_are_counted, LIBRARY) { unsigned n = 0; begin(); OK(cuLibraryGetKernelCount(&n, library())); CHECK(n == 3); }
BEHAVIOUR(library_kernel_becomes_a_function, LIBRARY) { CUkernel k; CUfunction f = NULL; begin(); OK(cuLibraryGetKernel(&k, library(), "spin")); OK(cuKernelGetFunction(&f, k)); OK(launch(f, 1, 1, NULL)); OK(cuCtxSynchronize()); }
BEHAVIOUR(kernel_handle_launches_as_a_function, EXEC) { CUkernel k; begin(); OK(cuLibraryGetKernel(&k, library(), "spin")); OK(launch((CUfunction)k, 1, 1, NULL)); OK(cuCtxSynchronize()); }
BEHAVIOUR(library_global, LIBRARY) { CUdeviceptr p; size_t n; begin(); OK(cuLibraryGetGlobal(&p, &n, library(), "table")); CHECK(p && n == 64); }
BEHAVIOUR(library_unloads, LIBRARY) { begin(); OK(cuLibraryUnload(library())); }
BEHAVIOUR(occupancy_is_positive, OCCUPANCY) { int n = 0; begin(); OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, kernel("fill"), 128, 0)); CHECK(n >= 1 && n <= 64); }
BEHAVIOUR(occupancy_block_size, OCCUPANCY) { int g = 0, b = 0; begin(); OK(cuOccupancyMaxPotentialBlockSize(&g, &b, kernel("fill"), NULL, 0, 0)); CHECK(g >= 1 && b >= 32 && b <= 1024); }
BEHAVIOUR(occupancy_block_size_honours_the_limit, OCCUPANCY) { int g = 0, b = 0; begin(); OK(cuOccupancyMaxPotentialBlockSize(&g, &b, kernel("fill"), NULL, 0, 128)); CHECK(b <= 128); }
