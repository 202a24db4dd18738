// env: COPPICE_EMOTIONAL_RESERVE=64M
/* Emotional requests find memory that was taken before they asked: of the size that was missed, up to the reserve and no more. */
#include "cuda_test.h"
#include "../../include/coppice/coppice.h"
enum { SIZE = 10 << 20, BLOCKS = 6 };
int main(void) {
    start();
    need_simulator();
    CUdeviceptr p[BLOCKS];
    give(take(SIZE));
    sleep(2);
    CHECK(stat_number("cached_bytes") == SIZE, "memory was taken ahead for nobody");
    ((__typeof__(&coppice_type_push))dlsym(RTLD_DEFAULT, "coppice_type_push"))(COPPICE_EMOTIONAL);
    CUdeviceptr first = take(SIZE - 4096), second = take(SIZE); /* the cached one serves, then nothing does */
    for (int i = 0; i < 60 && stat_number("cached_bytes") != BLOCKS * SIZE; i++) usleep(100000);
    CHECK(stat_number("cached_bytes") == BLOCKS * SIZE, "%g bytes are ready", stat_number("cached_bytes"));
    CHECK(stat_number("reserved_bytes") == (double)truth().live, "our books and the device's differ");
    long allocs = driver_calls("cuMemAlloc_v2");
    for (int i = 0; i < BLOCKS; i++) p[i] = take(SIZE);
    CHECK(driver_calls("cuMemAlloc_v2") == allocs, "a reserved block was asked of the driver");
    for (int i = 0; i < BLOCKS; i++) give(p[i]);
    give(first), give(second);
    CHECK(stat_number("live_bytes") == 0 && stat_number("reserved_bytes") == (BLOCKS + 2) * SIZE);
    return 0;
}
