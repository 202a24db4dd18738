// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: SIM_FAULT=cuMemSetAccess:1:801
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Where the device does not have mappings that kernels only read, one line says so, and everything is as without the option. */
#include "weights_test.h"
enum { SIZE = 8 << 20 };
int main(int argc, char **argv) {
    (void)argc;
    if (!getenv("LISTENED_TO")) {
        struct said said = run_listening(argv[0], "COPPICE_SHARE_WEIGHTS: weights are not shared on");
        CHECK(said.ours == 1 && said.others == 0, "%u lines say so, %u say something else", said.ours, said.others);
        return 0;
    }
    start();
    need_simulator();
    CUdeviceptr p = take(SIZE), q = take(SIZE);
    CHECK(taken_mb() == 16 && weights_number("bytes") == 0, "%zu MiB", taken_mb());
    upload(p, 1, SIZE, MB), upload(q, 1, SIZE, MB);
    CHECK(holds(p, 1, SIZE) && holds(q, 1, SIZE) && weights_number("once_bytes") == 0);
    give(p), give(q);
    return 0;
}
