// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Two processes with the same weights: the device holds them once, and never held them twice, however their uploads were cut; the
 * contents are right for both, and what one gives back the other keeps. Different weights share nothing. Within a process, too. */
#include "weights_test.h"
enum { SIZE = 21 * (1 << 20), MARGIN = 10 };

int main(int argc, char **argv) {
    if (argc > 1) return be_another();
    start();
    need_simulator();
    CUdeviceptr mine = take(SIZE);
    size_t size;
    CHECK(taken_mb() <= 2, "%zu MiB were taken before anything was uploaded", taken_mb());
    CHECK(weights_number("bytes") == 22.0 * MB && stat_number("live_bytes") == SIZE && weights_number("bare_bytes") >= 20.0 * MB);
    load(mine, 1, SIZE, 700001);
    CHECK(taken_mb() == 22 && weights_number("bare_bytes") == 0 && weights_number("offered") == 11, "%g offered", weights_number("offered"));
    struct other a = begin(argv[0]);
    CHECK(TOLD(&a, LOAD, 1, SIZE, 5 * MB + 128) == 1);
    CHECK(taken_mb() == 22 && peak_mb() <= 22 + MARGIN, "%zu MiB taken, %zu at the peak, for 22 twice", taken_mb(), peak_mb());
    CHECK(TOLD(&a, NUMBER, 1) == 22 * (long)MB, "the other process shares %ld", TOLD(&a, NUMBER, 1));
    CHECK(holds(mine, 1, SIZE) && TOLD(&a, CHECK_IT, 1, SIZE) == 1);
    struct other b = begin(argv[0]); /* the whole in one call */
    CHECK(TOLD(&b, LOAD, 1, SIZE, SIZE) == 1 && taken_mb() == 22 && peak_mb() <= 22 + MARGIN && TOLD(&b, CHECK_IT, 1, SIZE) == 1);
    CHECK(TOLD(&b, FREE_IT) == 1 && taken_mb() == 22 && holds(mine, 1, SIZE));
    CHECK(TOLD(&b, LOAD, 2, SIZE, 3 * MB) == 1 && taken_mb() == 44 && TOLD(&b, NUMBER, 1) == 0, "different weights were shared");
    CHECK(TOLD(&b, CHECK_IT, 2, SIZE) == 1 && TOLD(&a, CHECK_IT, 1, SIZE) == 1);
    end(&b);
    CHECK(taken_mb() == 22, "%zu MiB", taken_mb());
    give(mine); /* the other has them still */
    OK(p_cuCtxSynchronize());
    CHECK(taken_mb() == 22 && TOLD(&a, CHECK_IT, 1, SIZE) == 1 && weights_number("bytes") == 0);
    mine = take(SIZE); /* and lends them back */
    load(mine, 1, SIZE, MB);
    CHECK(taken_mb() == 22 && holds(mine, 1, SIZE), "%zu MiB", taken_mb());
    CUdeviceptr again = take(SIZE); /* within the process */
    load(again, 1, SIZE, 2 * MB + 77);
    CHECK(taken_mb() == 22 && holds(again, 1, SIZE) && holds(mine, 1, SIZE), "%zu MiB for twice the same in one process", taken_mb());
    OK(CALL(cuMemGetAddressRange_v2)(NULL, &size, again + 5 * MB));
    CHECK(size == SIZE);
    give(mine);
    CHECK(taken_mb() == 22 && holds(again, 1, SIZE));
    give(again);
    end(&a);
    CHECK(stat_number("live_bytes") == 0 && stat_number("reserved_bytes") == 0 && taken_mb() == 0, "%zu MiB are left", taken_mb());
    CHECK(weights_number("once_bytes") == 0 && weights_number("bytes") == 0 && weights_number("copied") == 0);
    return 0;
}
