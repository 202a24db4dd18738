// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Kernels read weights that are held once; one that writes them faults, as the documentation says, and the other process does not
 * notice. What a kernel has changed before it was shared is not equal any more, whatever its hash was: it stays as it is. */
#include "weights_test.h"
enum { SIZE = 12 << 20 };

static void be_a_writer(CUfunction writes, CUdeviceptr mine, struct other *a) {
    kernel(writes, mine + 3 * PAGE + 7, 100);
    CHECK(p_cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS, "a kernel wrote weights that another process has too");
    CHECK(TOLD(a, CHECK_IT, 1, SIZE) == 1, "and the other process sees it");
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another();
    start();
    need_simulator();
    CUfunction reads = kernel_named("reads"), writes = kernel_named("writes");
    CUdeviceptr mine = take(SIZE);
    upload(mine, 1, SIZE, MB);
    kernel(writes, mine + PAGE + 5, 1000); /* nobody else has it: as without us */
    OK(p_cuCtxSynchronize());
    struct other a = begin(argv[0]);
    CHECK(TOLD(&a, LOAD, 1, SIZE, MB) == 1);
    CHECK(TOLD(&a, NUMBER, 1) == 10 * (long)MB && TOLD(&a, CHECK_IT, 1, SIZE) == 1, "%ld MiB are shared", TOLD(&a, NUMBER, 1) / (long)MB);
    expect_bytes(mine + PAGE + 5, 0x77, 1000, NULL, "what the kernel wrote");
    CHECK(holds(mine, 1, PAGE) && taken_mb() == 12 + 2);
    kernel(reads, mine, SIZE);
    OK(p_cuCtxSynchronize());
    be_a_writer(writes, mine, &a);
    end(&a);
    return 0;
}
