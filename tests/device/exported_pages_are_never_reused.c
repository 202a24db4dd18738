// backend: page
// env: COPPICE_DEVICE_BACKEND=page
/* Memory made of pages whose identity was shown (BUFFER_ID, SYNC_MEMOPS) is never handed out again: an identity is never
 * seen twice, for large blocks and for small ones that share a page. */
#include "cuda_test.h"
static unsigned long long id_of(CUdeviceptr p) {
    unsigned long long id;
    OK(p_cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, p));
    return id;
}
static void shown_once(size_t size) {
    CUdeviceptr p = take(size);
    unsigned long long before = id_of(p);
    give(p);
    CUdeviceptr q = take(size);
    CHECK(q != p && (id_of(q) != before || size < 2 << 20), "an old identity came back at %zu bytes", size);
    give(q);
}
int main(void) {
    start();
    need_simulator();
    for (int i = 0; i < 3; i++) shown_once(4 << 20), shown_once((5 << 20) + 4096), shown_once(3000);
    unsigned on = 1;
    CUdeviceptr p = take(4 << 20);
    OK(p_cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p));
    give(p);
    CHECK(stat_number("tainted_blocks") == 19 && stat_number("live_bytes") == 0);
    CHECK((double)truth().live == stat_number("reserved_bytes"));
    return 0;
}
