/* device_threads.c: do threads that allocate device memory at once slow each other down? First one thread, then eight, take and free
 * cached blocks of two sizes for the same time. Printed are the eight's total rate over the one's, by the clock, and what a
 * pair costs the eight in CPU time over what it costs the one, which other load on the machine does not move. argv: name
 * of a rival. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 8, BATCH = 8, RUNS = 5 };
static int (*p_cudaMalloc)(void **, size_t), (*p_cudaFree)(void *);
static _Atomic int ready;
static _Atomic int go;
static _Atomic long pairs, cpu_ns;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void batch(void) {
    void *p[BATCH];
    for (int i = 0; i < BATCH; i++)
        if (p_cudaMalloc(&p[i], i % 2 ? 4096 : 65536)) puts("cudaMalloc failed"), exit(1);
    for (int i = 0; i < BATCH; i++)
        if (p_cudaFree(p[i])) puts("cudaFree failed"), exit(1);
}

static void *work(void *unused) {
    for (int i = 0; i < 200; i++) batch();
    atomic_fetch_add(&ready, 1);
    long done = 0;
    while (!atomic_load(&go)) {}
    double start = cpu();
    while (atomic_load_explicit(&go, memory_order_relaxed) == 1) batch(), done += BATCH;
    atomic_fetch_add(&pairs, done);
    atomic_fetch_add(&cpu_ns, (long)((cpu() - start) * 1e9));
    return unused;
}

static double rate(int threads, double *cost) {
    pthread_t thread[MOST];
    atomic_store(&ready, 0), atomic_store(&go, 0), atomic_store(&pairs, 0), atomic_store(&cpu_ns, 0);
    for (int i = 0; i < threads; i++) pthread_create(&thread[i], NULL, work, NULL);
    while (atomic_load(&ready) < threads) nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    double start = now();
    atomic_store(&go, 1);
    nanosleep(&(struct timespec){ .tv_nsec = 400000000 }, NULL);
    atomic_store(&go, 2);
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    *cost = (double)cpu_ns / (double)pairs;
    return (double)pairs / (now() - start);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    const char *rival = argc > 1 ? argv[1] : "";
    double one[RUNS], ratio[RUNS], cost[RUNS], alone, together;
    if (!dlopen("libcudart.so.13", RTLD_NOW | RTLD_GLOBAL)) return puts(dlerror()), 77;
#define BIND(name) if (!(*(void **)&p_##name = dlsym(RTLD_DEFAULT, #name))) return puts("no " #name), 1;
    BIND(cudaMalloc) BIND(cudaFree)
    for (int i = 0; i < RUNS; i++) {
        one[i] = rate(1, &alone);
        ratio[i] = rate(MOST, &together) / one[i];
        cost[i] = together / alone;
    }
    qsort(one, RUNS, sizeof *one, by_value);
    qsort(cost, RUNS, sizeof *cost, by_value);
    qsort(ratio, RUNS, sizeof *ratio, by_value);
    printf("bench device.threads1.rate%s %.2f Mpairs/s\n", rival, one[RUNS / 2] * 1e-6);
    printf("bench device.threads8.ratio%s %.3f x (%.3f to %.3f)\n", rival, ratio[RUNS / 2], ratio[0], ratio[RUNS - 1]);
    printf("bench device.threads8.cpu_ratio%s %.3f x (%.3f to %.3f)\n", rival, cost[RUNS / 2], cost[0], cost[RUNS - 1]);
    return 0;
}
