// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=4G
/* One block of most of the device, as an engine's KV cache is: served, freed, served again, beside smaller requests whose
 * pages came and went; and after it is freed the program gets all that is left, in whatever sizes. */
#include "cuda_test.h"
#define GIB ((size_t)1 << 30)
int main(void) {
    start();
    need_simulator();
    CUdeviceptr small[64];
    for (int i = 0; i < 64; i++) small[i] = take((10 << 20) + (size_t)i * 4096);
    for (int i = 0; i < 64; i++) give(small[i]);
    for (int round = 0; round < 3; round++) {
        CUdeviceptr cache = take(3 * GIB + GIB / 2 + 12345);
        CHECK(truth().live <= 4 * GIB);
        for (int i = 0; i < 8; i++) small[i] = take((20 << 20) + (size_t)i * 4096);
        give(cache);
        for (int i = 0; i < 8; i++) give(small[i]);
        CUdeviceptr many[36];
        for (int i = 0; i < 36; i++) many[i] = take(110 << 20);
        CHECK(truth().live <= 4 * GIB);
        for (int i = 0; i < 36; i++) give(many[i]);
    }
    size_t available, all;
    OK(p_cuMemGetInfo_v2(&available, &all));
    CUdeviceptr whole = take(all - (4 << 20)), more;
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&more, 16 << 20));
    give(whole);
    give(take(16 << 20));
    double peak = stat_number("peak_reserved_bytes");
    CHECK((double)truth().peak_live == peak && peak <= (double)all);
    return 0;
}
