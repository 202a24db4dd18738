// backend: block; what happens to pages stands in exported_pages_are_never_reused
/* A block whose identity was shown (an IPC handle, also by an interior pointer; BUFFER_ID; SYNC_MEMOPS) goes back to the
 * driver when it is freed: the next allocation of its size is another one. */
#include "cuda_test.h"
static void by_handle(CUdeviceptr p) { CUipcMemHandle h; OK(p_cuIpcGetMemHandle(&h, p)); }
static void by_interior_handle(CUdeviceptr p) { CUipcMemHandle h; OK(p_cuIpcGetMemHandle(&h, p + 4096)); }
static void by_buffer_id(CUdeviceptr p) { unsigned long long id; OK(p_cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, p)); }
static void by_sync_memops(CUdeviceptr p) { unsigned on = 1; OK(p_cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p)); }
int main(void) {
    start();
    need_simulator();
    void (*const show[])(CUdeviceptr) = { by_handle, by_interior_handle, by_buffer_id, by_sync_memops };
    for (unsigned i = 0; i < sizeof show / sizeof *show; i++) {
        CUdeviceptr p = take(2 << 20);
        long frees = driver_calls("cuMemFree_v2");
        show[i](p);
        give(p);
        CHECK(driver_calls("cuMemFree_v2") == frees + 1, "case %u: the driver did not get it back", i);
    }
    unsigned long long before, after;
    CUdeviceptr p = take(2 << 20);
    OK(p_cuPointerGetAttribute(&before, CU_POINTER_ATTRIBUTE_BUFFER_ID, p));
    give(p);
    p = take(2 << 20);
    OK(p_cuPointerGetAttribute(&after, CU_POINTER_ATTRIBUTE_BUFFER_ID, p));
    CHECK(before != after, "an old identity came back");
    give(p);
    CHECK(stat_number("tainted_blocks") == 6);
    return 0;
}
