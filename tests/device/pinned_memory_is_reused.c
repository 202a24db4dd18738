// env: COPPICE_PINNED_MAX=64M
/* Page-locked memory that was freed serves the next request of its size, kind and context without the driver; another
 * kind or context gets its own; flags and device address stay what they were; the numbers are right. */
#include "cuda_test.h"
#define pinned(field) stat_number_after("\"pinned\"", field)
static void *host(size_t size, unsigned flags) {
    void *p = NULL;
    OK(p_cuMemHostAlloc(&p, size, flags));
    memset(p, 0x11, size);
    return p;
}
static void *plain(size_t size) {
    void *p = NULL;
    OK(p_cuMemAllocHost_v2(&p, size));
    return p;
}
static void back(void *p) { OK(p_cuMemFreeHost(p)); }
int main(void) {
    start();
    need_simulator();
    void *a = host(100000, 0);
    CHECK(pinned("live_bytes") == 100000 && pinned("reserved_bytes") == 100000);
    back(a);
    long before = driver_calls("cuMemHostAlloc");
    CHECK(host(100000, 0) == a);
    back(a);
    CHECK(host(95000, 0) == a && pinned("live_bytes") == 95000 && pinned("rounding_bytes") == 5000);
    CUdeviceptr base;
    size_t size;
    OK(p_cuMemGetAddressRange_v2(&base, &size, (CUdeviceptr)(uintptr_t)a + 7));
    CHECK(base == (CUdeviceptr)(uintptr_t)a && size == 95000, "the range has %zu bytes", size);
    CHECK(driver_calls("cuMemHostAlloc") == before && driver_calls("cuMemFreeHost") == 0, "the driver was asked for what is cached");
    back(a);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFreeHost(a));
    EXPECT(CUDA_ERROR_NOT_FOUND, p_cuMemGetAddressRange_v2(&base, &size, (CUdeviceptr)(uintptr_t)a));
    CHECK(host(40000, 0) != a, "much too large a block was used");
    /* every kind its own */
    void *kind[9];
    for (unsigned flags = 0; flags < 8; flags++) back(kind[flags] = host(50000, flags));
    back(kind[8] = plain(50000));
    for (unsigned i = 0; i < 9; i++)
        for (unsigned j = 0; j < i; j++) CHECK(kind[i] != kind[j], "kinds %u and %u share", i, j);
    for (unsigned flags = 0; flags < 8; flags++) {
        unsigned got;
        CUdeviceptr device;
        CHECK(host(50000, flags) == kind[flags]);
        OK(p_cuMemHostGetFlags(&got, kind[flags]));
        CHECK((got | CU_MEMHOSTALLOC_DEVICEMAP) == (flags | CU_MEMHOSTALLOC_DEVICEMAP), "flags %u became %u", flags, got);
        OK(p_cuMemHostGetDevicePointer_v2(&device, kind[flags], 0));
        CHECK(device == (CUdeviceptr)(uintptr_t)kind[flags]);
        back(kind[flags]);
    }
    CHECK(plain(50000) == kind[8]);
    back(kind[8]);
    void *p;
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemHostAlloc(&p, 100, 8));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemHostAlloc(&p, 0, 0));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemHostAlloc(NULL, 100, 0));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFreeHost(&p));
    OK(p_cuMemFreeHost(NULL));
    /* another context, which takes its own along when it ends */
    CUcontext second;
    OK(p_cuCtxCreate_v2(&second, 0, 0));
    void *other = host(50000, CU_MEMHOSTALLOC_PORTABLE);
    CHECK(other != kind[1], "a context was given what ends with another");
    void *held = host(3000, 0);
    back(other);
    OK(p_cuCtxDestroy_v2(second));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFreeHost(held));
    const char *books = strstr(strstr(stat_json(), "\"pinned\"") + 1, "\"pinned\"");
    const char empty[] = "\"pinned\":{\"live_bytes\":0,\"rounding_bytes\":0,\"reserved_bytes\":0,";
    CHECK(books && strncmp(books, empty, strlen(empty)) == 0, "a context that ended holds: %.90s", books);
    OK(p_cuCtxSetCurrent(test_context));
    CHECK(host(50000, CU_MEMHOSTALLOC_PORTABLE) == kind[1]);
    back(kind[1]);
    /* not more than PINNED_MAX, and nothing that was shown by its identity */
    void *large[3];
    for (int i = 0; i < 3; i++) large[i] = host(30 << 20, 0);
    for (int i = 0; i < 3; i++) back(large[i]);
    CHECK(pinned("cached_bytes") <= 64 << 20, "%g bytes are cached", pinned("cached_bytes"));
    void *shown = host(70000, 0);
    unsigned long long id;
    OK(p_cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, (CUdeviceptr)(uintptr_t)shown + 100));
    before = driver_calls("cuMemFreeHost");
    back(shown);
    CHECK(driver_calls("cuMemFreeHost") == before + 1, "exported identity stays in the cache");
    CHECK(pinned("live_bytes") == 40000 && pinned("reserved_bytes") == 40000 + pinned("cached_bytes"));
    CHECK(pinned("allocs") == pinned("hits") + pinned("misses"));
    return 0;
}
