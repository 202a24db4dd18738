// backend: page
// env: COPPICE_DEVICE_BACKEND=page
/* Memory made of pages cannot be exported by legacy IPC: the answer is the documented error, the statistics say so, and the
 * next block of that size is a whole driver allocation, which can. What the driver says of pages is corrected. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUipcMemHandle handle;
    CUcontext context;
    CUdeviceptr p = take(4 << 20), other = take(100), base;
    size_t size;
    OK(p_cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, other));
    OK(p_cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 5000));
    OK(p_cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, other));
    CHECK(context == test_context && base == p && size == 100);
    EXPECT(CUDA_ERROR_NOT_SUPPORTED, p_cuIpcGetMemHandle(&handle, p + 4096));
    EXPECT(CUDA_ERROR_NOT_SUPPORTED, p_cuIpcGetMemHandle(&handle, other));
    CHECK(stat_number("exports_refused") == 2);
    CUdeviceptr whole = take(4 << 20), small = take(100);
    OK(p_cuIpcGetMemHandle(&handle, whole));
    OK(p_cuIpcGetMemHandle(&handle, small));
    CHECK(driver_calls("cuMemAlloc_v2") == 2);
    give(p), give(other), give(whole), give(small);
    CHECK(stat_number("live_bytes") == 0 && (double)truth().live == stat_number("reserved_bytes"));
    return 0;
}
