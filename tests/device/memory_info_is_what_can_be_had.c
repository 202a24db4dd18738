// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=512M
/* A request of all that cuMemGetInfo says is free succeeds, whatever lies where: free memory beside a live block does not count, it
 * serves small requests only. A program that sizes its one large cache by that number (an inference server does) would end otherwise. */
#include "cuda_test.h"
enum { HELD = 120, ROUNDS = 12, STEPS = 300, PAGE = 2 << 20 };
static unsigned long random_state = 88172645463325252ul;
static unsigned long next(void) { return random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17; }

static size_t available(void) {
    size_t bytes;
    OK(p_cuMemGetInfo_v2(&bytes, NULL));
    return bytes;
}

static void load(CUdeviceptr held[HELD]) {
    for (int step = 0; step < STEPS; step++) {
        CUdeviceptr *p = &held[next() % HELD];
        if (*p) give(*p), *p = 0;
        else *p = take(1 + next() % (next() % 2 ? 3 * PAGE : 30000));
    }
}

/* Nothing is held back either: what is missing is at most the two ends of each live block. */
static void check_least(const CUdeviceptr held[HELD], size_t all) {
    size_t live = 0, size;
    for (int i = 0; i < HELD; i++) {
        if (!held[i]) continue;
        OK(p_cuMemGetAddressRange_v2(NULL, &size, held[i]));
        live += size + 2 * PAGE;
    }
    CHECK(available() + live >= all, "%zu of %zu are free, at most %zu are in use", available(), all, live);
}

int main(void) {
    start();
    CUdeviceptr held[HELD] = { 0 };
    size_t all = available();
    for (int round = 0; round < ROUNDS; round++) {
        load(held);
        check_least(held, all);
        size_t bytes = available() / PAGE * PAGE;
        CUdeviceptr rest = 0;
        CHECK(p_cuMemAlloc_v2(&rest, bytes) == CUDA_SUCCESS, "round %d: %zu bytes of %zu are said to be free and are not to be had", round, bytes, all);
        give(rest);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i]) give(held[i]);
    CHECK(available() == all, "%zu of %zu are free in the end", available(), all);
    return 0;
}
