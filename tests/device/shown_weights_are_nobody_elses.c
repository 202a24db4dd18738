// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Weights that are held once with another block are shown to another process: they have pages of their own from then on. What the importer
 * writes is in that block and in no other, and the block's end takes nothing from either. */
#include "ipc_test.h"
enum { SIZE = 8 << 20 };

static void upload(CUdeviceptr to, int value) {
    unsigned char *bytes = malloc(SIZE);
    memset(bytes, value, SIZE);
    OK(p_cuMemcpyHtoDAsync_v2(to, bytes, SIZE, NULL));
    OK(p_cuCtxSynchronize());
    free(bytes);
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another(atoi(argv[1]));
    start();
    need_simulator();
    CUdeviceptr a = take(SIZE), b = take(SIZE);
    upload(a, 1), upload(b, 1);
    char byte;
    for (int i = 0; i < 5 && stat_number("weights_once_bytes") < SIZE; i++) {
        usleep(1100000);
        OK(p_cuMemcpyDtoH_v2(&byte, a, 1));
    }
    CHECK(stat_number("weights_once_bytes") >= SIZE, "nothing is held once: %g", stat_number("weights_once_bytes"));
    CUipcMemHandle h = handle_of(b + 100);
    struct other o = begin(argv[0], NULL);
    CUdeviceptr q = TOLD(&o, OPEN, h).at;
    TOLD_OK(&o, HOLDS, .at = q, .size = SIZE, .value = 1);
    TOLD_OK(&o, FILL, .at = q + (3 << 20), .size = 2 << 20, .value = 2);
    CHECK(all_are(a, 1, SIZE), "another block was written");
    CHECK(all_are(b, 1, 3 << 20) && all_are(b + (3 << 20), 2, 2 << 20) && all_are(b + (5 << 20), 1, 3 << 20), "what was written is not there");
    give(b);
    CUdeviceptr c = take(SIZE);
    upload(c, 3);
    TOLD_OK(&o, HOLDS, .at = q + (3 << 20), .size = 2 << 20, .value = 2);
    TOLD_OK(&o, CLOSE, .at = q);
    end(&o);
    CHECK(all_are(a, 1, SIZE) && all_are(c, 3, SIZE));
    give(a), give(c);
    nothing_is_left_of_others();
    CHECK(truth().live == 0);
    return 0;
}
