// env: COPPICE_POOL_MAX=8G
/* A program whose sizes change a little at every step is served from the cache all the same, and what that wastes is counted and
 * bounded: a twentieth of demand for all live blocks, beside the eighth that any block may leave over. */
#include "cuda_test.h"
enum { STEPS = 200, LAYERS = 8 };

/* A cache that is appended to by copying: each layer's block is replaced by a slightly larger one. */
static void growing(void) {
    CUdeviceptr layer[LAYERS];
    long before = driver_calls("cuMemAlloc_v2");
    for (int i = 0; i < LAYERS; i++) layer[i] = take(40 << 20);
    for (int step = 1; step <= STEPS; step++) {
        size_t size = ((size_t)40 << 20) + (size_t)step * 300000;
        for (int i = 0; i < LAYERS; i++) {
            CUdeviceptr grown = take(size);
            give(layer[i]);
            layer[i] = grown;
        }
    }
    long calls = driver_calls("cuMemAlloc_v2") - before;
    CHECK(calls < STEPS * LAYERS / 4, "%ld driver allocations for %d requests", calls, STEPS * LAYERS);
    for (int i = 0; i < LAYERS; i++) give(layer[i]);
}

/* A server that needed much and needs little now: small requests use what is there. */
static void shrinking(void) {
    CUdeviceptr p[LAYERS];
    for (int i = 0; i < LAYERS; i++) p[i] = take(100 << 20);
    for (int i = 0; i < LAYERS; i++) give(p[i]);
    long before = driver_calls("cuMemAlloc_v2"), reserved = (long)truth().live;
    for (int step = 0; step < 20; step++) {
        p[0] = take(((size_t)70 << 20) + (size_t)step * 12345);
        CHECK(stat_number("rounding_bytes") <= 30 << 20);
        give(p[0]);
    }
    CHECK(driver_calls("cuMemAlloc_v2") == before && (long)truth().live == reserved, "what is reserved and idle is not used");
}

int main(void) {
    start();
    need_simulator();
    growing();
    uint64_t most = LAYERS * (((uint64_t)40 << 20) + STEPS * 300000) * 9 / 8; /* live at once while one layer is copied */
    CHECK(truth().peak_live <= most * 115 / 100, "%lu bytes", (unsigned long)truth().peak_live);
    CHECK(stat_number("live_bytes") == 0 && stat_number("rounding_bytes") == 0);
    shrinking();
    return 0;
}
