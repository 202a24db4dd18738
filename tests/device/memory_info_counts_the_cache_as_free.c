/* cuMemGetInfo answers what the program could still get: the driver's free bytes and our cached ones. */
#include "cuda_test.h"
int main(void) {
    start();
    size_t before, during, after, total, again;
    OK(p_cuMemGetInfo_v2(&before, &total));
    CUdeviceptr p = take(256 << 20);
    OK(p_cuMemGetInfo_v2(&during, NULL));
    CHECK(before - during >= 256u << 20);
    give(p);
    OK(p_cuMemGetInfo_v2(&after, &again));
    CHECK(after == before && again == total, "free went from %zu to %zu", before, after);
    OK(p_cuMemGetInfo_v2(NULL, &total));
    return 0;
}
