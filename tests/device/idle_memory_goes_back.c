// long: 120
// env: COPPICE_POOL_MAX=4G
/* A server that has a burst and then does nothing gives its cached device memory back by itself, a minute later, but for
 * the 32 MiB that nobody would wait for; what is live stays. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    CUdeviceptr live = take(16 << 20), p[8];
    for (int i = 0; i < 8; i++) p[i] = take(100 << 20);
    for (int i = 0; i < 8; i++) give(p[i]);
    CHECK(truth().live == 816u << 20);
    sleep(50);
    CHECK(truth().live == 816u << 20, "given back while the last minute's demand was worth it");
    sleep(25);
    CHECK(truth().live <= 48u << 20, "%lu bytes are still held", (unsigned long)truth().live);
    CHECK(truth().live >= 16u << 20 && stat_number("live_bytes") == 16 << 20);
    give(live);
    return 0;
}
