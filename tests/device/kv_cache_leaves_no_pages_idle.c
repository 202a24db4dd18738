// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=16G
/* A server loads weights through staging memory, then asks for one block that comes whole from the driver, and that no page can
 * serve: what the loading left free goes back first, though the device has room for both. What comes later is served as before. */
#include "cuda_test.h"
#define MIB ((size_t)1 << 20)
enum { LAYERS = 20 };
int main(void) {
    start();
    need_simulator();
    CUdeviceptr staging[LAYERS];
    for (int i = 0; i < LAYERS; i++) staging[i] = take(50 * MIB + 512), take(100 * MIB);
    for (int i = 0; i < LAYERS; i++) give(staging[i]);
    CHECK(stat_number("cached_bytes") >= LAYERS * 50.0 * MIB);
    take(8192 * MIB);
    double reserved = stat_number("peak_reserved_bytes"), live = stat_number("peak_live_bytes");
    CHECK((double)truth().peak_live == reserved);
    CHECK(reserved <= live * 1.02, "reserved is %.4f of what was live", reserved / live);
    for (int i = 0; i < LAYERS; i++) take(50 * MIB + 512);
    reserved = stat_number("peak_reserved_bytes"), live = stat_number("peak_live_bytes");
    CHECK(reserved <= live * 1.02, "reserved is %.4f of what was live", reserved / live);
    printf("reserved/live %.4f\n", reserved / live);
    return 0;
}
