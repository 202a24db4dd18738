/* cuda_test.h: what the tests of the device pool share: the CUDA functions bound at run time as an unmodified program
 * would bind them, ground truth from the simulated device, and the checks.
 * A test is a program: it runs with libcoppice.so preloaded, on the simulated device (or a real GPU, where ground truth
 * is absent), ends with status 0, 1 (it says what failed) or 77 (skipped, with the reason). Lines `// env: A=b` at the top
 * of a test set its environment. */
#ifndef COPPICE_CUDA_TEST_H
#define COPPICE_CUDA_TEST_H
#define _GNU_SOURCE
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../sim/driver/simctl.h"

#define DRIVER_FUNCTIONS(X) \
    X(cuInit) X(cuDeviceGet) X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease_v2) X(cuDevicePrimaryCtxReset_v2) \
    X(cuCtxSetCurrent) X(cuCtxGetCurrent) X(cuCtxCreate_v2) X(cuCtxDestroy_v2) X(cuCtxSynchronize) X(cuCtxPushCurrent_v2) X(cuCtxPopCurrent_v2) \
    X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemAllocPitch_v2) X(cuMemGetInfo_v2) X(cuMemGetAddressRange_v2) X(cuMemFreeAsync) X(cuMemAllocManaged) \
    X(cuMemsetD8_v2) X(cuMemsetD8Async) X(cuMemcpyDtoH_v2) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoDAsync_v2) \
    X(cuStreamCreate) X(cuStreamCreateWithPriority) X(cuStreamDestroy_v2) X(cuStreamSynchronize) X(cuStreamQuery) X(cuLaunchHostFunc) X(cuStreamWaitEvent) \
    X(cuStreamBeginCapture_v2) X(cuStreamEndCapture) X(cuGraphDestroy) X(cuStreamIsCapturing) X(cuThreadExchangeStreamCaptureMode) \
    X(cuEventCreate) X(cuEventRecord) X(cuEventSynchronize) X(cuModuleLoadData) X(cuModuleGetFunction) X(cuLaunchKernel) \
    X(cuGraphInstantiateWithFlags) X(cuGraphLaunch) X(cuGraphExecDestroy) \
    X(cuMemHostAlloc) X(cuMemAllocHost_v2) X(cuMemFreeHost) X(cuMemHostGetFlags) X(cuMemHostGetDevicePointer_v2) \
    X(cuMemCreate) X(cuMemRelease) X(cuMemAllocAsync) X(cuMemAllocFromPoolAsync) X(cuDeviceGetDefaultMemPool) X(cuMemPoolCreate) X(cuMemPoolDestroy) \
    X(cuMemPoolSetAttribute) X(cuMemPoolGetAttribute) \
    X(cuIpcGetMemHandle) X(cuIpcOpenMemHandle_v2) X(cuIpcCloseMemHandle) X(cuPointerGetAttribute) X(cuPointerSetAttribute) X(cuGetProcAddress_v2)
#define X(name) static __typeof__(&name) p_##name;
DRIVER_FUNCTIONS(X)
#undef X
#define SIMCTL_FUNCTIONS(X) X(simctl_device) X(simctl_calls) X(simctl_wrong_calls) X(simctl_fault) X(simctl_clear_faults) X(simctl_present) X(simctl_register_twin) X(simctl_touch)
#define X(name) static __typeof__(&name) p_##name;
SIMCTL_FUNCTIONS(X)
#undef X

#define FAIL(...) (printf("%s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), puts(""), exit(1))
#define SKIP(...) (printf("SKIP: "), printf(__VA_ARGS__), puts(""), exit(77))
#define CHECK(x, ...) ((x) ? (void)0 : FAIL("" #x ": " __VA_ARGS__))
#define EXPECT(answer, call) do { int got_ = (int)(call); if (got_ != (int)(answer)) FAIL(#call " answered %d, expected " #answer " (%d)", got_, (int)(answer)); } while (0)
#define OK(call) EXPECT(CUDA_SUCCESS, call)

__attribute__((unused)) static CUcontext test_context;

/* Binds the driver, and the control library if it is the simulated device. */
__attribute__((unused)) static void start_driver(void) {
    void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) SKIP("no libcuda.so.1: %s", dlerror());
#define X(name) if (!(*(void **)&p_##name = dlsym(handle, #name))) FAIL("no %s in the driver", #name);
    DRIVER_FUNCTIONS(X)
#undef X
    void *control = dlopen("libcoppice-simctl.so", RTLD_NOW);
#define X(name) if (control) *(void **)&p_##name = dlsym(control, #name);
    SIMCTL_FUNCTIONS(X)
#undef X
}
/* The same, and device 0's primary context made current. */
__attribute__((unused)) static void start(void) {
    CUdevice device;
    start_driver();
    OK(p_cuInit(0));
    OK(p_cuDeviceGet(&device, 0));
    OK(p_cuDevicePrimaryCtxRetain(&test_context, device));
    OK(p_cuCtxSetCurrent(test_context));
}

__attribute__((unused)) static CUdeviceptr take(size_t size) {
    CUdeviceptr p = 0;
    OK(p_cuMemAlloc_v2(&p, size));
    return p;
}
__attribute__((unused)) static void give(CUdeviceptr p) { OK(p_cuMemFree_v2(p)); }

/* Ground truth: calls that reached the driver from this process, and its bytes on device 0. */
__attribute__((unused)) static long driver_calls(const char *name) { return (long)p_simctl_calls(NULL, getpid(), name); }
__attribute__((unused)) static struct simctl_device truth(void) {
    struct simctl_device d = { 0 };
    if (p_simctl_device) p_simctl_device(NULL, 0, 0, &d);
    return d;
}
/* The same of one device, and of this process alone. */
__attribute__((unused)) static struct simctl_device own_truth(int device) {
    struct simctl_device d = { 0 };
    if (p_simctl_device) p_simctl_device(NULL, (int)getpid(), device, &d);
    return d;
}
__attribute__((unused)) static void need_simulator(void) {
    if (!p_simctl_present || !p_simctl_present()) SKIP("needs the simulated device's ground truth");
}

/* Our own numbers, as `coppice stat` sees them: the counters file of this process through its JSON. */
__attribute__((unused)) static const char *stat_json(void) {
    static char text[1 << 20];
    char command[256];
    snprintf(command, sizeof command, "env -u LD_PRELOAD build/coppice stat %d --json", (int)getpid());
    FILE *f = popen(command, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) pclose(f);
    return text;
}
/* The number of that name after `from`, a text of the JSON. */
__attribute__((unused)) static double stat_number_after(const char *from, const char *field) {
    char key[96];
    const char *text = stat_json(), *start = strstr(text, from);
    snprintf(key, sizeof key, "\"%s\":", field);
    const char *at = start ? strstr(start, key) : NULL;
    if (!at) FAIL("no %s after %s in the statistics: %.200s", field, from, text);
    return strtod(at + strlen(key), NULL);
}
__attribute__((unused)) static double stat_number(const char *field) { return stat_number_after("\"device\"", field); }
/* The sum of a field over the contexts of one device. */
__attribute__((unused)) static double stat_sum(const char *text, const char *field, int device) {
    char key[96];
    double sum = 0;
    const char *end = strstr(text, "\"host\":"), *at = strstr(text, "\"device\":[");
    if (!at || !end) FAIL("no devices in the statistics: %.200s", text);
    snprintf(key, sizeof key, "\"%s\":", field);
    while ((at = strstr(at, "{\"id\":")) && at < end) {
        int id = atoi(at += strlen("{\"id\":"));
        if (id == device) sum += strtod(strstr(at, key) + strlen(key), NULL);
    }
    return sum;
}

/* Work that takes its time: the stream stands still until the gate opens. */
struct gate { _Atomic bool open; };
static void CUDA_CB wait_for_gate(void *with) {
    struct gate *gate = with;
    while (!atomic_load(&gate->open)) usleep(200);
}
__attribute__((unused)) static void block_stream(CUstream stream, struct gate *gate) { OK(p_cuLaunchHostFunc(stream, wait_for_gate, gate)); }

__attribute__((unused)) static void fill(CUdeviceptr p, unsigned char value, size_t size, CUstream stream) { OK(p_cuMemsetD8Async(p, value, size, stream)); }
/* Every byte of the block, read back in a stream of its own, must be `value`. */
__attribute__((unused)) static void expect_bytes(CUdeviceptr p, unsigned char value, size_t size, CUstream stream, const char *what) {
    unsigned char *host = malloc(size);
    OK(p_cuMemcpyDtoHAsync_v2(host, p, size, stream));
    OK(p_cuStreamSynchronize(stream));
    for (size_t i = 0; i < size; i++)
        if (host[i] != value) FAIL("%s: byte %zu is %d, expected %d", what, i, host[i], value);
    free(host);
}
#endif
