/* A freed block serves the next request of its size: same address, no driver call, and both layers count it. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUdeviceptr a = take(4 << 20);
    give(a);
    long allocs = driver_calls("cuMemAlloc_v2"), frees = driver_calls("cuMemFree_v2");
    for (int i = 0; i < 100; i++) {
        CUdeviceptr b = take(4 << 20);
        CHECK(b == a);
        give(b);
    }
    CHECK(driver_calls("cuMemAlloc_v2") == allocs && driver_calls("cuMemFree_v2") == frees);
    CHECK(stat_number("hits") == 100 && stat_number("misses") == 1 && stat_number("frees") == 101);
    CHECK(stat_number("reserved_bytes") == 4 << 20 && stat_number("cached_bytes") == 4 << 20 && stat_number("live_bytes") == 0);
    return 0;
}
