// backend: page
// env: COPPICE_DEVICE_BACKEND=page
/* kill -9 of the process that showed memory made of pages, or of the one that has it open: the other one has what it had, gives it back
 * as ever, and nothing is left on the device. Who is gone cannot be asked, and that is an error at once; so is one that is being ended. */
#include "ipc_test.h"
#include <time.h>
enum { SIZE = 6 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another(atoi(argv[1]));
    start();
    need_simulator();
    /* the exporter */
    struct other o = begin(argv[0], NULL);
    CUdeviceptr theirs = TOLD(&o, TAKE, .size = SIZE).at, more = TOLD(&o, TAKE, .size = SIZE).at, mine;
    TOLD_OK(&o, FILL, .at = theirs, .size = SIZE, .value = 7);
    struct answer shown = TOLD(&o, SHOW, .at = theirs), never = TOLD(&o, SHOW, .at = more);
    OK(shown.result); OK(never.result);
    OK(p_cuIpcOpenMemHandle_v2(&mine, shown.handle, LAZY));
    kill_it(&o);
    CHECK(all_are(mine, 7, SIZE), "what was open went with its owner");
    OK(p_cuMemsetD8_v2(mine + 4096, 8, 4096));
    CHECK(all_are(mine + 4096, 8, 4096));
    CUdeviceptr again;
    OK(p_cuIpcOpenMemHandle_v2(&again, shown.handle, LAZY));
    CHECK(again == mine);
    double begun = now();
    EXPECT(CUDA_ERROR_INVALID_HANDLE, p_cuIpcOpenMemHandle_v2(&again, never.handle, LAZY));
    CHECK(now() - begun < 3, "who is dead was waited for");
    OK(p_cuIpcCloseMemHandle(mine)); OK(p_cuIpcCloseMemHandle(mine));
    nothing_is_left_of_others();
    /* the importer */
    CUdeviceptr p = take_filled(SIZE, 3), small = take_filled(500, 4);
    for (int i = 0; i < 2; i++) {
        o = begin(argv[0], NULL);
        CUdeviceptr q = TOLD(&o, OPEN, handle_of(p)).at;
        TOLD_OK(&o, OPEN, handle_of(small));
        TOLD_OK(&o, FILL, .at = q, .size = 100, .value = 5);
        kill_it(&o);
        CHECK(all_are(p, 5, 100) && all_are(p + 100, 3, SIZE - 100) && all_are(small, 4, 500));
    }
    give(p), give(small);
    CHECK(stat_number("live_bytes") == 0);
    nothing_is_left_of_others();
    return 0;
}
