// env: COPPICE_POOL_MAX=4G
/* What each type of device memory is spared and when it goes: emotional memory stays when others are trimmed, and goes before
 * the program sees out of memory; semantic memory goes first, and within seconds when nobody asks for it again; blocks are
 * lent rather than asked of the driver. */
#include "cuda_test.h"
#include "../../include/coppice/coppice.h"
#define MIB ((size_t)1 << 20)
static __typeof__(&coppice_type_push) push;
static __typeof__(&coppice_type_pop) pop;
static CUdeviceptr take_typed(enum coppice_type type, size_t size) {
    push(type);
    CUdeviceptr p = take(size);
    pop();
    return p;
}
static double cached(void) { return stat_number("cached_bytes") / (double)MIB; }
static void expect_cached(double mib, const char *when) {
    for (int i = 0; i < 80 && cached() != mib; i++) usleep(100000);
    CHECK(cached() == mib, "%s: %g MiB are cached, expected %g", when, cached(), mib);
}
int main(void) {
    start();
    need_simulator();
    push = (__typeof__(push))dlsym(RTLD_DEFAULT, "coppice_type_push");
    pop = (__typeof__(pop))dlsym(RTLD_DEFAULT, "coppice_type_pop");
    CUdeviceptr urgent = take_typed(COPPICE_EMOTIONAL, 100 * MIB), plain = take(300 * MIB);
    give(urgent), give(plain);
    CUdeviceptr large = take(440 * MIB); /* no block fits: the others make room for it */
    CHECK(cached() == 100, "%g MiB are cached", cached());
    double hits = stat_number("hits");
    CHECK(take(100 * MIB) != urgent, "emotional memory was lent");
    CHECK(take_typed(COPPICE_EMOTIONAL, 100 * MIB) == urgent && stat_number("hits") == hits + 1);
    give(urgent);
    size_t available, total;
    OK(p_cuMemGetInfo_v2(&available, &total)); /* counts what is cached */
    CUdeviceptr all = take(available - 20 * MIB);
    CHECK(stat_number("oom_recoveries") == 1 && cached() == 0);
    give(all), give(large);
    OK(p_cuCtxSynchronize());

    CUdeviceptr weights = take_typed(COPPICE_SEMANTIC, 50 * MIB);
    double before = cached();
    give(weights);
    long frees = driver_calls("cuMemFree_v2");
    CHECK(take(50 * MIB) == weights && driver_calls("cuMemFree_v2") == frees, "a block of another type was not lent");
    give(weights);
    give(take_typed(COPPICE_SEMANTIC, 50 * MIB)); /* the same block again, now semantic */
    expect_cached(before, "seconds after semantic memory was freed");
    return 0;
}
