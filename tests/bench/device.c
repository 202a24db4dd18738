/* device.c: what a cached cudaMalloc and cudaFree cost, hit and free apart, and how many driver calls a hit needs.
 * argv: `idle` (no work in the context) or `busy` (a fill is submitted before every batch is freed, so each batch stands
 * behind a fence). Batches of 64 small or 8 large blocks, so that the clock does not weigh; one line a figure, named by
 * argv[2]. Runs with or without the library: without, it measures the driver. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int (*p_cudaMalloc)(void **, size_t), (*p_cudaFree)(void *), (*p_cudaDeviceSynchronize)(void);
static int (*p_cudaMemsetAsync)(void *, int, size_t, void *);
static uint64_t (*calls)(const char *set, int pid, const char *name);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static uint64_t driver_calls(void) { return calls ? calls(NULL, getpid(), NULL) : 0; }

int main(int argc, char **argv) {
    enum { ROUNDS = 2000, WARM = 200, SMALL = 64, LARGE = 8 };
    static double alloc[ROUNDS], release[ROUNDS];
    static const size_t sizes[] = { 4 << 10, 64 << 10, 3 << 20, 40 << 20 };
    int busy = argc > 1 && strcmp(argv[1], "busy") == 0;
    const char *rival = argc > 2 ? argv[2] : "";
    void *runtime = dlopen("libcudart.so.13", RTLD_NOW | RTLD_GLOBAL), *control = dlopen("libcoppice-simctl.so", RTLD_NOW);
    if (!runtime) return puts(dlerror()), 77;
    if (control) *(void **)&calls = dlsym(control, "simctl_calls");
#define BIND(name) if (!(*(void **)&p_##name = dlsym(RTLD_DEFAULT, #name))) return puts("no " #name), 1;
    BIND(cudaMalloc) BIND(cudaFree) BIND(cudaDeviceSynchronize) BIND(cudaMemsetAsync)
    uint64_t hits = 0, before = 0, synchronizing = 0; /* driver calls: at the start, and of our own waits */
    for (int round = -WARM; round < ROUNDS; round++) {
        void *p[SMALL];
        size_t size = sizes[(round + WARM) & 3];
        int n = size > 1 << 20 ? LARGE : SMALL;
        if (round == 0) before = driver_calls();
        double t0 = now();
        for (int i = 0; i < n; i++)
            if (p_cudaMalloc(&p[i], size)) return puts("cudaMalloc failed"), 1;
        double t1 = now();
        if (busy) p_cudaMemsetAsync(p[0], 1, 64, NULL);
        double t2 = now();
        for (int i = 0; i < n; i++)
            if (p_cudaFree(p[i])) return puts("cudaFree failed"), 1;
        double t3 = now();
        if (round >= 0) alloc[round] = (t1 - t0) / n, release[round] = (t3 - t2) / n, hits += (uint64_t)n;
        if (round >= 0 && (round & 63) != 0) continue;
        uint64_t calls_before = driver_calls();
        p_cudaDeviceSynchronize();
        if (round >= 0) synchronizing += driver_calls() - calls_before;
    }
    uint64_t during = driver_calls() - before - synchronizing;
    qsort(alloc, ROUNDS, sizeof *alloc, by_value);
    qsort(release, ROUNDS, sizeof *release, by_value);
    const char *kind = busy ? "fenced" : "hit";
    printf("bench device.%s.p50%s %.1f ns\n", kind, rival, alloc[ROUNDS / 2]);
    printf("bench device.%s.p99%s %.1f ns\n", kind, rival, alloc[ROUNDS * 99 / 100]);
    printf("bench device.%s.p50%s %.1f ns\n", busy ? "fenced_free" : "free", rival, release[ROUNDS / 2]);
    if (calls) printf("bench device.driver_calls_per_%s%s %.4f calls\n", kind, rival, (double)during / (double)hits);
    return 0;
}
