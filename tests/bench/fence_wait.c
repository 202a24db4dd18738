/* fence_wait.c: what is it worth to wait for memory that fits and is behind a fence, rather than to take more from the driver?
 * Threads with a stream each take six blocks at a step, give a kernel work on each and free them at once, as a server
 * without a cache of its own does; a kernel takes SIM_KERNEL_NS of its stream. Printed: milliseconds a step, hit rate, and the
 * device's peak. argv: threads, name of the case. */
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "../sim/driver/simctl.h"

enum { STEPS = 150, BLOCKS = 6, MOST = 8 };
#define FUNCTIONS(X) X(cuInit) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuStreamCreate) \
    X(cuStreamSynchronize) X(cuModuleLoadData) X(cuModuleGetFunction) X(cuLaunchKernel)
#define X(name) static __typeof__(&name) p_##name;
FUNCTIONS(X)
#undef X
#define OK(call) do { int got = (int)(call); if (got) printf("%s: %d\n", #call, got), exit(1); } while (0)
static CUcontext context;
static CUfunction kernel;
static const size_t sizes[] = { 1 << 20, 3 << 20, 2 << 20, 8 << 20, 5 << 20, 1 << 20 };
static const char ptx[] = ".version 6.0\n.target sm_50\n.address_size 64\n.visible .entry nothing(.param .u64 p)\n{\n ret;\n}\n";

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *work(void *unused) {
    CUstream stream;
    OK(p_cuCtxSetCurrent(context));
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (int step = 0; step < STEPS; step++) {
        CUdeviceptr before = 0;
        for (int i = 0; i < BLOCKS; i++) { /* the result of one operation is the input of the next */
            CUdeviceptr p;
            void *arguments[] = { &p };
            OK(p_cuMemAlloc_v2(&p, sizes[i]));
            OK(p_cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
            if (before) OK(p_cuMemFree_v2(before));
            before = p;
        }
        OK(p_cuMemFree_v2(before));
    }
    OK(p_cuStreamSynchronize(stream));
    return unused;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    const char *name = argc > 2 ? argv[2] : "";
    void *cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL), *control = dlopen("libcoppice-simctl.so", RTLD_NOW);
    if (!cuda || !control) return puts("needs the simulated device"), 77;
#define X(name) *(void **)&p_##name = dlsym(cuda, #name);
    FUNCTIONS(X)
#undef X
    __typeof__(&simctl_device) truth = (__typeof__(truth))dlsym(control, "simctl_device");
    __typeof__(&simctl_calls) calls = (__typeof__(calls))dlsym(control, "simctl_calls");
    CUmodule module;
    OK(p_cuInit(0));
    OK(p_cuDevicePrimaryCtxRetain(&context, 0));
    OK(p_cuCtxSetCurrent(context));
    OK(p_cuModuleLoadData(&module, ptx));
    OK(p_cuModuleGetFunction(&kernel, module, "nothing"));
    pthread_t thread[MOST];
    double start = now();
    for (int i = 0; i < threads; i++) pthread_create(&thread[i], NULL, work, NULL);
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    double took = now() - start;
    struct simctl_device d = { 0 };
    truth(NULL, 0, 0, &d);
    double requests = (double)threads * STEPS * BLOCKS, asked = (double)calls(NULL, getpid(), "cuMemAlloc_v2");
    printf("bench wait.%s.step %.3f ms\n", name, took / STEPS * 1e3);
    printf("bench wait.%s.hits %.4f of-requests\n", name, 1 - asked / requests);
    printf("bench wait.%s.peak %.1f MiB\n", name, (double)d.peak_live / (1 << 20));
    return 0;
}
