// backend: block; it counts driver allocations
// env: COPPICE_DTESN_LIMIT=8G
/* Membranes of a device: what levels hold is what is reserved and live; cached memory climbs a level at a time and may be
 * taken by descendants, and by anybody before the driver is asked; what nobody wants leaves. */
#include "cuda_test.h"

/* A number of the device's tree. */
static double tree_number(const char *field) { return stat_number_after("\"devices\":[{", field); }

/* Used, cached bytes over all levels. */
struct sums { double used, cached, budget[12], cached_at[12]; int levels; };
static struct sums sums(void) {
    struct sums s = { 0 };
    const char *at = strstr(stat_json(), "\"devices\":[{"), *end = strstr(at, "\"types\"");
    while ((at = strstr(at, "\"budget_bytes\":")) && at < end) {
        s.budget[s.levels] = strtod(at + 15, NULL);
        s.used += strtod(strstr(at, "\"used_bytes\":") + 13, NULL);
        s.cached += s.cached_at[s.levels++] = strtod(strstr(at, "\"cached_bytes\":") + 15, NULL);
        at++;
    }
    return s;
}
static void check_sums(double used, double cached) {
    struct sums s = sums();
    CHECK(s.used == used && s.cached == cached, "used %.0f cached %.0f", s.used, s.cached);
    CHECK(s.levels == 8 && s.budget[0] == (double)(8ull << 30));
    for (int i = 1; i < s.levels; i++) CHECK(s.budget[i] > 0 && s.budget[i] <= s.budget[i - 1]);
}

int main(void) {
    start();
    need_simulator();
    enum { N = 20 };
    CUdeviceptr p[N];
    double bytes = 0;
    for (int i = 0; i < N; i++) p[i] = take((size_t)(i + 1) << 16), bytes += (i + 1) << 16;
    check_sums(bytes, 0);
    CHECK(tree_number("live_bytes") == bytes && tree_number("allocs") == N); /* untyped: the first type of the list */
    for (int i = 0; i < N; i++) give(p[i]);
    check_sums(0, bytes);
    const double borrowed = tree_number("borrowed_allocations");
    for (int i = 0; i < N; i++) p[i] = take((size_t)(i + 1) << 16); /* each its own */
    CHECK(driver_calls("cuMemAlloc_v2") == N && tree_number("borrowed_allocations") == borrowed);
    check_sums(bytes, 0);
    for (int i = 0; i < N; i++) give(p[i]);
    OK(p_cuCtxSynchronize());
    sleep(8); /* the deep levels are left after a second or a few each */
    CHECK(tree_number("consolidations") >= N && tree_number("bytes_consolidated") >= bytes / 2, "%.0f times, %.0f bytes", tree_number("consolidations"), tree_number("bytes_consolidated"));
    check_sums(0, bytes);
    struct sums climbed = sums(); /* level 4 is left 13 s after the free */
    CHECK(climbed.cached_at[0] + climbed.cached_at[1] + climbed.cached_at[2] == 0, "%.0f %.0f %.0f", climbed.cached_at[0], climbed.cached_at[1], climbed.cached_at[2]);
    CUdeviceptr again = take(5 << 16); /* from an ancestor, or a stranger: not from the driver */
    CHECK(driver_calls("cuMemAlloc_v2") == N && tree_number("borrowed_allocations") == borrowed + 1);
    give(again);
    check_sums(0, bytes);
    again = take((5 << 16) - 300); /* rounding is where its block is */
    check_sums(5 << 16, bytes - (5 << 16));
    CHECK(tree_number("live_bytes") == (5 << 16) - 300);
    give(again);
    check_sums(0, bytes);
    return 0;
}
