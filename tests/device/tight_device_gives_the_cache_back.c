// env: COPPICE_POOL_MAX=8G
// env: SIM_CAPACITY=1G
/* On a device that is nearly full, what is cached and has not been in use for some seconds goes back long before the
 * minute that it would be kept for otherwise; what is in use stays cached. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUdeviceptr burst = take(600 << 20), live = take(300 << 20);
    give(burst);
    CHECK(truth().live == 900u << 20);
    for (int i = 0; i < 30; i++) { /* in use now and then: 40 MiB */
        give(take(40 << 20));
        usleep(500000);
    }
    CHECK(truth().live <= 350u << 20, "%lu bytes are still held", (unsigned long)truth().live);
    CHECK(truth().live >= 340u << 20, "what is in use went too");
    give(live);
    return 0;
}
