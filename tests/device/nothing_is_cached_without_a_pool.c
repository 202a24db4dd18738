// env: COPPICE_POOL_MAX=0
/* POOL_MAX=0: every allocation and free reaches the driver, and the numbers still hold. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    long before = driver_calls("cuMemFree_v2");
    for (int i = 0; i < 10; i++) give(take(4096));
    CHECK(driver_calls("cuMemFree_v2") == before + 10 && truth().live == 0);
    CHECK(stat_number("hits") == 0 && stat_number("misses") == 10 && stat_number("reserved_bytes") == 0);
    return 0;
}
