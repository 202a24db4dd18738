// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=16G
// env: COPPICE_POOL_MAX=16G
/* However odd the sizes, and while blocks come and go at random, what is reserved at the peak is at most a fiftieth more
 * than what was live; small requests make next to no calls of the driver. */
#include "cuda_test.h"
enum { HELD = 200, STEPS = 6000 };
static unsigned long random_state = 88172645463325252ul;
static unsigned long next(void) { return random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17; }
static size_t any_size(void) {
    switch (next() % 8) {
    case 0: return 1 + next() % (160 << 20);
    case 1: return 1 + next() % (20 << 20);
    case 2: return 1 + next() % (1 << 20);
    default: return 1 + next() % 30000;
    }
}
int main(void) {
    start();
    need_simulator();
    CUdeviceptr held[HELD] = { 0 };
    for (int step = 0; step < STEPS; step++) {
        CUdeviceptr *p = &held[next() % HELD];
        if (*p) give(*p), *p = 0;
        else *p = take(any_size());
    }
    double ratio = stat_number("peak_reserved_bytes") / stat_number("peak_live_bytes");
    CHECK((double)truth().peak_live == stat_number("peak_reserved_bytes"));
    CHECK(ratio <= 1.02, "reserved is %.4f of what was live", ratio);
    long small = driver_calls("cuMemMap");
    for (int i = 0; i < 1000; i++) give(take(1 + next() % 30000));
    CHECK(driver_calls("cuMemMap") - small <= 2, "small requests were mapped one by one");
    printf("reserved/live %.4f, %ld pages, %ld maps\n", ratio, driver_calls("cuMemCreate"), driver_calls("cuMemMap"));
    return 0;
}
