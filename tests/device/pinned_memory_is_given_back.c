// backend: block; the byte counts are those of whole blocks
// env: COPPICE_PRESSURE=1
// env: SIM_CAPACITY=1G
// env: COPPICE_PINNED_MAX=128M
// env: COPPICE_ZERO=1
/* Cached page-locked memory goes back when host memory or the device is full, and when somebody asks; a fork's child
 * touches none of it; during a capture nothing is cached; ZERO=1 clears it. */
#include "cuda_test.h"
#define pinned(field) stat_number_after("\"pinned\"", field)
static void *cached(size_t size) {
    void *p;
    OK(p_cuMemAllocHost_v2(&p, size));
    memset(p, 0x11, size);
    OK(p_cuMemFreeHost(p));
    return p;
}
int main(void) {
    start();
    need_simulator();
    void *p = cached(10 << 20), *q;
    CUdeviceptr d;
    CHECK(pinned("cached_bytes") == 10 << 20);
    give(take(5 << 20));
    CHECK(p_simctl_fault("cuMemHostAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY));
    OK(p_cuMemHostAlloc(&q, 1 << 20, 0));
    CHECK(pinned("cached_bytes") == 0 && pinned("trims") == 1, "kept though host memory was full");
    CHECK(stat_number("cached_bytes") == 5 << 20, "device memory went first");
    cached(10 << 20);
    CUdeviceptr most = take(900 << 20);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&d, 500 << 20));
    CHECK(pinned("cached_bytes") == 0, "kept though the device was full");
    give(most);
    cached(10 << 20);
    char command[128];
    snprintf(command, sizeof command, "env -u LD_PRELOAD build/coppice trim %d | grep -q '10.0 MiB of pinned host memory'", (int)getpid());
    CHECK(system(command) == 0 && pinned("cached_bytes") == 0);
    p = cached(10000);
    OK(p_cuMemAllocHost_v2(&q, 10000));
    CHECK(q == p);
    for (int i = 0; i < 10000; i++) CHECK(((char *)q)[i] == 0, "byte %d is not cleared", i);
    /* a capture */
    CUstream stream;
    CUgraph graph;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    double before = pinned("cached_bytes");
    OK(p_cuMemFreeHost(q));
    CHECK(pinned("cached_bytes") == before, "cached during a capture");
    OK(p_cuStreamEndCapture(stream, &graph));
    OK(p_cuGraphDestroy(graph));
    /* a child */
    cached(20000);
    long frees = driver_calls("cuMemFreeHost"), allocs = driver_calls("cuMemAllocHost_v2");
    pid_t child = fork();
    if (child == 0) _exit(p_cuMemAllocHost_v2(&q, 20000) == CUDA_SUCCESS);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child was given its parent's memory");
    CHECK(driver_calls("cuMemFreeHost") == frees && driver_calls("cuMemAllocHost_v2") == allocs);
    return 0;
}
