/* bench.c: what a simulated call costs with the cost model off; one line a figure. Tests are quick only while this is small. */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void ok(CUresult r) {
    if (r == CUDA_SUCCESS) return;
    fprintf(stderr, "bench: error %d\n", (int)r);
    exit(1);
}

enum { BATCH = 256, ROUNDS = 400 };
static CUdeviceptr p[BATCH];

static void pair(const char *name, size_t size) {
    double take = 1e18, give = 1e18;     /* the best round: the machine is shared */
    for (int r = 0; r < ROUNDS; r++) {
        double a = now();
        for (int i = 0; i < BATCH; i++) ok(cuMemAlloc(&p[i], size));
        double b = now();
        for (int i = 0; i < BATCH; i++) ok(cuMemFree(p[i]));
        double c = now();
        if ((b - a) / BATCH < take) take = (b - a) / BATCH;
        if ((c - b) / BATCH < give) give = (c - b) / BATCH;
    }
    printf("bench sim.cuMemAlloc.%s %.0f ns\nbench sim.cuMemFree.%s %.0f ns\n", name, take, name, give);
}

int main(void) {
    CUcontext c;
    CUevent e;
    ok(cuInit(0));
    ok(cuDevicePrimaryCtxRetain(&c, 0));
    ok(cuCtxSetCurrent(c));
    ok(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    pair("4k", 4096);
    pair("2m", 2 << 20);
    double a = now();
    for (int i = 0; i < 100000; i++) ok(cuCtxRecordEvent(c, e));
    double b = now();
    for (int i = 0; i < 100000; i++) ok(cuEventQuery(e));
    double d = now();
    printf("bench sim.cuCtxRecordEvent %.0f ns\nbench sim.cuEventQuery %.0f ns\n", (b - a) / 1e5, (d - b) / 1e5);
    return 0;
}
