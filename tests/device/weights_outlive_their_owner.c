// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* The process that uploaded the weights first is killed: those who share them have them still, can be killed in turn, and lend
 * them to whoever comes next; nothing is left on the device in the end. A fork's child disturbs neither. */
#include "weights_test.h"
enum { SIZE = 16 << 20 };

int main(int argc, char **argv) {
    if (argc > 1) return be_another();
    start();
    need_simulator();
    struct other first = begin(argv[0]);
    CHECK(TOLD(&first, LOAD, 1, SIZE, 3 * MB) == 1);
    CUdeviceptr mine = take(SIZE);
    load(mine, 1, SIZE, 5 * MB);
    CHECK(weights_number("once_bytes") == SIZE && taken_mb() == 16, "%g are shared", weights_number("once_bytes"));
    CHECK(TOLD(&first, FORK_IT) == 1);
    pid_t child = fork();
    if (child == 0) _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0 && TOLD(&first, CHECK_IT, 1, SIZE) == 1);
    end(&first);
    CHECK(holds(mine, 1, SIZE) && taken_mb() == 16, "the owner was killed: %zu MiB", taken_mb());
    struct other second = begin(argv[0]);
    CHECK(TOLD(&second, LOAD, 1, SIZE, 3 * MB) == 1);
    CHECK(TOLD(&second, NUMBER, 1) == SIZE && taken_mb() == 16, "what was borrowed is not lent: %ld, %zu MiB", TOLD(&second, NUMBER, 1), taken_mb());
    CUdeviceptr other = take(SIZE);
    load(other, 2, SIZE, MB);
    end(&second);
    CHECK(holds(mine, 1, SIZE) && holds(other, 2, SIZE) && taken_mb() == 32);
    OK(p_cuMemsetD8_v2(mine, 5, SIZE));
    expect_bytes(mine, 5, SIZE, NULL, "own copies");
    CHECK(holds(other, 2, SIZE));
    give(mine), give(other);
    CHECK(taken_mb() == 0 && weights_number("once_bytes") == 0, "%zu MiB are left", taken_mb());
    return 0;
}
