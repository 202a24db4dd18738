// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: SIM_CAPACITY=100M
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Weights take no memory until something is uploaded there, and nobody can tell: whatever else reads them finds memory, memory
 * that was promised is not shown as free nor promised twice, and out of memory is an answer to allocations as without us. What is shown to
 * others, or reached by them, is nobody else's. */
#include "weights_test.h"
enum { SIZE = 20 << 20 };

static void is_there(CUdeviceptr p, const char *what) {
    CHECK(taken_mb() >= 20 && weights_number("bare_bytes") == 0, "%s: %zu MiB are taken", what, taken_mb());
    give(p);
    CHECK(weights_number("bytes") == 0);
}

/* An upload that reaches four pages takes them together. Where the driver refuses one, or access to them, the upload fails and no page is
 * lost. While nothing is found some more are taken, and an upload does not fail for those. */
static void are_taken_together(void) {
    unsigned char *bytes = contents(1, 8 * MB);
    CUdeviceptr p = take(SIZE);
    CHECK(p_simctl_fault("cuMemCreate", 3, CUDA_ERROR_NOT_SUPPORTED));
    EXPECT(CUDA_ERROR_NOT_SUPPORTED, CALL(cuMemcpyHtoD_v2)(p, bytes, 8 * MB));
    CHECK(taken_mb() == 2 + 4, "%zu MiB after the third of four pages was refused", taken_mb());
    CHECK(p_simctl_fault("cuMemSetAccess", 1, CUDA_ERROR_NOT_SUPPORTED));
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, CALL(cuMemcpyHtoD_v2)(p, bytes, 8 * MB));
    CHECK(taken_mb() == 2 + 4, "%zu MiB after access to two pages was refused", taken_mb());
    give(p), p = take(SIZE);
    long before = driver_calls("cuMemSetAccess");
    OK(CALL(cuMemcpyHtoD_v2)(p, bytes, 8 * MB));
    CHECK(taken_mb() == 2 + 8 && driver_calls("cuMemSetAccess") == before + 1, "%ld calls to open four pages", driver_calls("cuMemSetAccess") - before);
    CHECK(p_simctl_fault("cuMemCreate", 3, CUDA_ERROR_NOT_SUPPORTED));
    OK(CALL(cuMemcpyHtoD_v2)(p + 8 * MB, bytes, 2 * MB));
    CHECK(taken_mb() == 2 + 12, "%zu MiB after pages further on were refused", taken_mb());
    OK(CALL(cuMemcpyHtoD_v2)(p + 12 * MB, bytes, 2 * MB));
    CHECK(taken_mb() == 2 + 20, "%zu MiB are taken, the block is 20", taken_mb());
    CHECK(holds(p, 1, 8 * MB) && holds(p + 8 * MB, 1, 2 * MB) && holds(p + 12 * MB, 1, 2 * MB));
    give(p), free(bytes);
    CHECK(taken_mb() == 2, "%zu MiB are left", taken_mb());
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another();
    start();
    need_simulator();
    CUfunction reads = kernel_named("reads");
    CUdeviceptr p = take(SIZE), small = take(4096);
    unsigned char *host = malloc(SIZE);
    CUdeviceptr base;
    size_t size, before, after, total;
    unsigned long long id;
    CHECK(taken_mb() == 2);
    kernel(reads, p, SIZE);
    OK(p_cuCtxSynchronize());
    is_there(p, "a kernel");
    p = take(SIZE);
    OK(p_cuMemcpyDtoH_v2(host, p + 5, SIZE - 5));
    is_there(p, "a copy to the host");
    p = take(SIZE);
    OK(CALL(cuMemcpyDtoD_v2)(small, p + 3 * MB, 4096));
    is_there(p, "a copy within the device");
    p = take(SIZE);
    OK(CALL(cuMemGetAddressRange_v2)(&base, &size, p + 7 * MB));
    CHECK(base == p && size == SIZE && taken_mb() <= 4);
    OK(p_cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 11 * MB));
    CHECK(base == p);
    OK(p_cuMemsetD8_v2(p + MB, 3, 2 * MB)); /* a fill takes what it fills */
    CHECK(taken_mb() <= 2 + 8, "%zu MiB", taken_mb());
    expect_bytes(p + MB, 3, 2 * MB, NULL, "a fill");
    give(p);
    are_taken_together();
    /* honest numbers */
    OK(p_cuMemGetInfo_v2(&before, &total));
    p = take(SIZE);
    OK(p_cuMemGetInfo_v2(&after, &total));
    CHECK(before - after == SIZE, "%zu MiB look taken", (before - after) / MB);
    give(p);
    CUdeviceptr half = take(60 * MB), rest = 0;
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&rest, 60 * MB));
    upload(half, 1, 60 * MB, 16 * MB);
    CHECK(holds(half, 1, 60 * MB));
    give(half);
    /* shown */
    struct other a = begin(argv[0]);
    CHECK(TOLD(&a, LOAD, 1, SIZE, 3 * MB) == 1);
    p = take(SIZE);
    load(p, 1, SIZE, MB);
    CHECK(weights_number("once_bytes") == SIZE);
    OK(p_cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, p));
    CHECK(weights_number("once_bytes") == 0 && holds(p, 1, SIZE) && taken_mb() == 2 + 40, "what was shown to others is still shared: %zu MiB", taken_mb());
    upload(p, 1, SIZE, MB);
    CHECK(weights_number("once_bytes") == 0 && TOLD(&a, CHECK_IT, 1, SIZE) == 1, "what was shown to others is shared again");
    end(&a);
    give(p), give(small);
    return 0;
}
