/* hostile.c: what must go wrong: illegal addresses are sticky, the host cannot touch device memory; and, on the simulated
 * device, ground truth, planted faults, poison. */
#define _GNU_SOURCE
#include "conform.h"
#include "simctl.h"
#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>

static CUdeviceptr alloc(size_t n) { CUdeviceptr p; OK(cuMemAlloc(&p, n)); return p; }
static void *ctl(const char *name) {
    static void *library;
    only_simulated();
    if (!library) library = dlopen("libcoppice-simctl.so", RTLD_NOW);
    CHECK(library != NULL);
    void *f = dlsym(library, name);
    CHECK(f != NULL);
    return f;
}
#define CTL(name) ((__typeof__(name) *)ctl(#name))

BEHAVIOUR(a_kernel_on_freed_memory_faults, TYPES) { begin(); only_direct(); CUdeviceptr p = alloc(64 << 20); OK(cuMemFree(p)); launch_fill(p, 1, 4, NULL); WANT(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS); }
BEHAVIOUR(an_illegal_address_is_sticky, TYPES) { CUdeviceptr q; begin(); only_direct(); CUdeviceptr p = alloc(64 << 20); OK(cuMemFree(p)); launch_fill(p, 1, 4, NULL); WANT(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS); WANT(cuMemAlloc(&q, 64), CUDA_ERROR_ILLEGAL_ADDRESS); WANT(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS); }
BEHAVIOUR(a_wild_pointer_faults, TYPES) { begin(); launch_fill(0x7000, 1, 4, NULL); WANT(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS); }
BEHAVIOUR(a_broken_context_does_not_hang, TYPES) { CUstream s; begin(); OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); launch_fill(0x7000, 1, 4, s); FAILS(cuStreamSynchronize(s)); FAILS(cuStreamSynchronize(s)); }
BEHAVIOUR(the_host_cannot_read_device_memory, GUIDE) {
    pid_t child = fork();
    if (child == 0) {
        begin();
        CUdeviceptr p = alloc(4096);
        fclose(stderr);
        close(2);
        _exit(*(volatile int *)(uintptr_t)p ? 1 : 2);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) conform_skip("no device");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
static volatile sig_atomic_t handled;
static void on_segv(int n) { (void)n; handled = 1; _exit(33); }
BEHAVIOUR(the_programs_own_fault_handler_runs, SIMULATED) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, on_segv);
        begin();
        CUdeviceptr p = alloc(4096);
        close(2);
        _exit(*(volatile int *)(uintptr_t)p ? 1 : 2);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 33 || WEXITSTATUS(status) == 77));
}
BEHAVIOUR(fresh_memory_reads_zero, SIMULATED) {
    begin();
    only_simulated();
    only_direct();
    for (int i = 0; i < 20; i++) {
        CUdeviceptr p = alloc(3 << 20), q = alloc(700);
        CHECK(read_word(p) == 0 && read_word(p + (2 << 20)) == 0 && read_word(q + 500) == 0);
        OK(cuMemsetD32(p, 5, (3 << 20) / 4));
        OK(cuMemsetD32(q, 5, 175));
        OK(cuMemFree(p));
        OK(cuMemFree(q));
    }
}
BEHAVIOUR(ground_truth_counts_bytes, SIMULATED) {
    struct simctl_device d, e;
    begin();
    only_direct();
    CHECK(CTL(simctl_device)(NULL, 0, 0, &d));
    CUdeviceptr p = alloc(1000), q = alloc((8 << 20) + 1);
    CHECK(CTL(simctl_device)(NULL, 0, 0, &e));
    CHECK(e.live - d.live == 1000 + (8 << 20) + 1);
    CHECK(e.reserved - d.reserved == 1024 + (10 << 20));
    OK(cuMemFree(p));
    OK(cuMemFree(q));
    CHECK(CTL(simctl_device)(NULL, getpid(), 0, &d));
    CHECK(d.live == 0 && d.reserved == 0 && d.peak_live == 1000 + (8 << 20) + 1);
}
BEHAVIOUR(ground_truth_counts_calls, SIMULATED) { CUdeviceptr p; begin(); alloc(100); (void)cuMemAlloc(&p, 0); CHECK(CTL(simctl_calls)(NULL, getpid(), "cuMemAlloc_v2") == 2); CHECK(CTL(simctl_wrong_calls)(NULL, getpid(), "cuMemAlloc_v2") == 1); }
BEHAVIOUR(faults_can_be_planted, SIMULATED) { CUdeviceptr p; begin(); CHECK(CTL(simctl_fault)("cuMemAlloc", 2, CUDA_ERROR_UNKNOWN)); OK(cuMemAlloc(&p, 64)); WANT(cuMemAlloc(&p, 64), CUDA_ERROR_UNKNOWN); OK(cuMemAlloc(&p, 64)); }
BEHAVIOUR(faults_can_be_planted_by_environment, SIMULATED) { CUdeviceptr p; setenv("SIM_FAULT", "cuMemAlloc:1:2,cuMemGetInfo:0:999", 1); begin(); only_simulated(); WANT(cuMemAlloc(&p, 64), CUDA_ERROR_OUT_OF_MEMORY); OK(cuMemAlloc(&p, 64)); WANT(cuMemGetInfo(NULL, NULL), CUDA_ERROR_UNKNOWN); }
BEHAVIOUR(capacity_is_exact, SIMULATED) { CUdeviceptr p, q; begin(); only_simulated(); OK(cuMemAlloc(&p, free_memory())); WANT(cuMemAlloc(&q, 1), CUDA_ERROR_OUT_OF_MEMORY); CHECK(free_memory() == 0); OK(cuMemFree(p)); OK(cuMemAlloc(&q, 1)); }
BEHAVIOUR(poison_follows_a_free, SIMULATED) {
    begin();
    only_direct();
    unsigned *(*peek)(uint64_t, size_t) = (__typeof__(peek))ctl("simctl_peek");
    alloc(700);                          /* keeps the slab */
    CUdeviceptr p = alloc(700);
    OK(cuMemsetD32(p, 5, 100));
    OK(cuCtxSynchronize());
    unsigned *host = peek(p, 4);
    CHECK(host && *host == 5);
    OK(cuMemFree(p));
    CHECK(*host == 0xdbdbdbdb && peek(p, 4) == NULL);
}
BEHAVIOUR(seeded_schedules_keep_stream_order, SIMULATED) {
    setenv("SIM_SEED", "12345", 1);
    begin();
    only_simulated();
    CUstream a, b;
    CUevent e;
    OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    CUdeviceptr p = alloc(64);
    for (unsigned i = 0; i < 30; i++) {
        launch_fill(p, 2 * i, 4, a);
        OK(cuEventRecord(e, a));
        OK(cuStreamWaitEvent(b, e, 0));
        launch_fill(p, 2 * i + 1, 4, b);
        OK(cuEventRecord(e, b));
        OK(cuStreamWaitEvent(a, e, 0));
    }
    CHECK(read_word(p) == 59);
}
BEHAVIOUR(strict_mode_reports_misuse, SIMULATED) {
    only_direct();
    pid_t child = fork();
    if (child == 0) {
        setenv("SIM_STRICT", "1", 1);
        begin();
        if (!simulated()) _exit(77);
        close(2);
        CUdeviceptr p = alloc(64 << 20);
        OK(cuMemFree(p));
        (void)cuMemsetD32(p, 1, 4);
        (void)cuCtxSynchronize();
        _exit(1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) conform_skip("about the simulated device only");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
BEHAVIOUR(named_kernels_can_be_made_to_write_zero, SIMULATED) {
    setenv("SIM_ZERO", "other:0:4,fill:0:8", 1);
    begin();
    only_simulated();
    CUmodule m;
    CUfunction f;
    CUdeviceptr p = alloc(64);
    OK(cuMemsetD32(p, 9, 16));
    OK(cuModuleLoadData(&m, "an image of which nothing is known"));
    OK(cuModuleGetFunction(&f, m, "some_filling_kernel"));
    OK(cuModuleGetFunction(&f, m, "some_fill_kernel"));
    void *args[] = { &p };
    OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    CHECK(read_word(p) == 0 && read_word(p + 4) == 0 && read_word(p + 8) == 9);
}
