// env: SIM_CAPACITY=64M
/* A short life that makes every CUDA call of ours: hits and misses, fences, pitched memory, exports, streams that end,
 * captures, a context that is released and one that is destroyed, exhaustion; with pages also memory that another process shows by a handle. tests/programs/every_call_may_fail runs it once for
 * each call and error with SIM_FAULT set and the name of the failing function in argv[1]. A call of the program may answer with
 * the error only if it is that very function, and then works when it is made again; no other call may notice. At the end the
 * whole device can be allocated, so nothing has leaked, and contexts that end leave nothing behind.
 * argv: `count NAME…` prints how often each function was called. */
#include "cuda_test.h"
#include <fcntl.h>

enum { SIZE = 256 << 10, PAGE = 2 << 20, CAPACITY = 64 << 20 };
static const char *failing = "";

/* One call of the program's: again if it was the one to fail. */
static bool is_fault(const char *name, CUresult answer) { return answer != CUDA_SUCCESS && strcmp(name, failing) == 0; }
#define DO(function, ...) do { \
        CUresult done_ = p_##function(__VA_ARGS__); \
        if (is_fault(#function, done_)) done_ = p_##function(__VA_ARGS__); \
        if (done_ != CUDA_SUCCESS) FAIL(#function " answered %d", (int)done_); \
    } while (0)

static CUdeviceptr get(size_t size) {
    CUdeviceptr p = 0;
    DO(cuMemAlloc_v2, &p, size);
    return p;
}
static void put(CUdeviceptr p) { DO(cuMemFree_v2, p); }
static void write_to(CUdeviceptr p, unsigned char value, size_t size, CUstream stream) { DO(cuMemsetD8Async, p, value, size, stream); }
static void wait_for(CUstream stream) { DO(cuStreamSynchronize, stream); }
static void expect(CUdeviceptr p, unsigned char value, size_t size, CUstream stream) {
    static unsigned char host[SIZE];
    DO(cuMemcpyDtoHAsync_v2, host, p, size, stream);
    wait_for(stream);
    for (size_t i = 0; i < size; i++)
        if (host[i] != value) FAIL("byte %zu is %d, expected %d", i, host[i], value);
}

/* Blocks that are used, freed and taken again while a slow stream works: nothing is lost or shared. */
static void reuse(CUstream slow, CUstream fast) {
    CUdeviceptr held = get(SIZE);
    write_to(held, 0x77, SIZE, fast);
    for (int round = 0; round < 3; round++) {
        CUdeviceptr p[4];
        for (int i = 0; i < 4; i++) p[i] = get(SIZE - 512 * i);
        for (int i = 0; i < 4; i++) write_to(p[i], (unsigned char)i, SIZE - 512 * i, i % 2 ? slow : fast);
        for (int i = 0; i < 4; i++) expect(p[i], (unsigned char)i, SIZE - 512 * i, i % 2 ? slow : fast);
        for (int i = 0; i < 4; i++) write_to(p[i], 0x10, 512, slow), put(p[i]);
    }
    expect(held, 0x77, SIZE, fast);
    put(held);
}
static void pitched(void) {
    for (int i = 0; i < 2; i++) {
        CUdeviceptr p = 0;
        size_t pitch;
        DO(cuMemAllocPitch_v2, &p, &pitch, 1000, 16, 4);
        put(p);
    }
}
/* Where the device did not say whether handles of pages can be passed on, pages cannot be shown: once those that are cached are used up, the
 * next block of that size can. */
static CUdeviceptr exportable(CUipcMemHandle *handle, size_t size) {
    CUdeviceptr paged[8], p = get(size);
    unsigned refused = 0;
    while (strcmp(failing, "cuDeviceGetAttribute") == 0 && refused < 8 && p_cuIpcGetMemHandle(handle, p + 4096) == CUDA_ERROR_NOT_SUPPORTED) paged[refused++] = p, p = get(size);
    while (refused > 0) put(paged[--refused]);
    DO(cuIpcGetMemHandle, handle, p + 4096);
    return p;
}
/* Beside other blocks, or alone in a page, which goes back to the driver then. */
static void exported(size_t size) {
    CUipcMemHandle handle;
    CUdeviceptr p = exportable(&handle, size), base = 0;
    size_t length = 0;
    DO(cuMemGetAddressRange_v2, &base, &length, p + 4096);
    CHECK(base == p && length == size);
    put(p);
    CUdeviceptr next = get(size);
    unsigned long long id;
    DO(cuPointerGetAttribute, &id, CU_POINTER_ATTRIBUTE_BUFFER_ID, next);
    put(next);
}
/* With pages: another process, to which no fault happens, shows a block; it is opened, read, closed, and given back. */
static int be_the_exporter(void) {
    CUipcMemHandle handle;
    char byte;
    start();
    CUdeviceptr p = take(3 << 20);
    OK(p_cuMemsetD8_v2(p, 0x55, 3 << 20));
    OK(p_cuCtxSynchronize());
    OK(p_cuIpcGetMemHandle(&handle, p));
    CHECK(write(1, &handle, sizeof handle) == sizeof handle && read(0, &byte, 1) == 0);
    return 0;
}
static void imported(const char *self, CUstream stream) {
    int to[2], from[2], status;
    CUipcMemHandle handle;
    CUdeviceptr p = 0, again = 0;
    const char *backend = getenv("COPPICE_DEVICE_BACKEND");
    if (!backend || strcmp(backend, "page") != 0) return;
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(to[0], 0), dup2(from[1], 1);
        unsetenv("SIM_FAULT");
        execl(self, self, "exporter", NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    CHECK(read(from[0], &handle, sizeof handle) == sizeof handle, "there is no exporter");
    DO(cuIpcOpenMemHandle_v2, &p, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    DO(cuIpcOpenMemHandle_v2, &again, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    CHECK(again == p);
    expect(p + (2 << 20), 0x55, SIZE, stream);
    for (int i = 0; i < 2; i++) DO(cuIpcCloseMemHandle, p);
    close(to[1]), close(from[0]);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the exporter ended with %#x", status);
}
static void captured(CUstream stream) {
    CUgraph graph = NULL;
    CUdeviceptr p = get(SIZE);
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    write_to(p, 1, SIZE, stream);
    put(get(SIZE));
    OK(p_cuStreamEndCapture(stream, &graph));
    OK(p_cuGraphDestroy(graph));
    put(p);
}
static void streams_end(CUstream stay) {
    CUdeviceptr p = get(SIZE);
    for (int i = 0; i < 3; i++) {
        CUstream gone = NULL;
        DO(cuStreamCreate, &gone, i % 2 ? CU_STREAM_DEFAULT : CU_STREAM_NON_BLOCKING);
        write_to(p, 2, SIZE, gone);
        OK(p_cuStreamDestroy_v2(gone));
    }
    put(p);
    CUdeviceptr next = get(SIZE);
    write_to(next, 3, SIZE, stay);
    expect(next, 3, SIZE, stay);
    put(next);
}
/* Memory freed with another context current, a context destroyed with live and cached memory, a primary one released. */
static void contexts_end(CUdevice device) {
    CUcontext other = NULL, same;
    CUdeviceptr p = get(SIZE);
    OK(p_cuCtxCreate_v2(&other, 0, device));
    put(p);
    for (int i = 0; i < 2; i++) put(get(SIZE));
    get(SIZE);
    CUcontext now = NULL;
    DO(cuCtxGetCurrent, &now);
    CHECK(now == other, "another context is current than the program's");
    OK(p_cuCtxDestroy_v2(other));
    DO(cuCtxSetCurrent, test_context);
    OK(p_cuDevicePrimaryCtxRetain(&same, device));
    OK(p_cuDevicePrimaryCtxRelease_v2(device));
    put(get(SIZE));
}
/* Everything cached has to come back, by whatever call; one refusal more than the fault itself is no leak. */
static void exhaust(void) {
    size_t left, total;
    CUdeviceptr whole = 0, managed = 0;
    DO(cuMemGetInfo_v2, &left, &total);
    CUresult answer = CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < 3 && answer != CUDA_SUCCESS; i++) answer = p_cuMemAlloc_v2(&whole, CAPACITY);
    CHECK(answer == CUDA_SUCCESS, "memory has leaked: %d; the device holds %lu", (int)answer, (unsigned long)truth().live);
    put(whole);
    answer = CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < 3 && answer != CUDA_SUCCESS; i++) answer = p_cuMemAllocManaged(&managed, CAPACITY, CU_MEM_ATTACH_GLOBAL);
    CHECK(answer == CUDA_SUCCESS, "memory has leaked: %d", (int)answer);
    put(managed);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "exporter") == 0) return be_the_exporter();
    bool counting = argc > 1 && strcmp(argv[1], "count") == 0;
    if (argc > 1 && !counting) failing = argv[1];
    CUdevice device = 0;
    CUstream slow = NULL, fast = NULL;
    start_driver();
    need_simulator();
    OK(p_cuInit(0));
    OK(p_cuDevicePrimaryCtxRetain(&test_context, device));
    DO(cuCtxSetCurrent, test_context);
    DO(cuStreamCreate, &slow, CU_STREAM_NON_BLOCKING);
    DO(cuStreamCreate, &fast, CU_STREAM_NON_BLOCKING);
    reuse(slow, fast);
    pitched();
    exported(SIZE);
    exported(PAGE);
    imported(argv[0], fast);
    captured(fast);
    streams_end(fast);
    contexts_end(device);
    DO(cuCtxSynchronize, );
    reuse(fast, CU_STREAM_PER_THREAD);
    exhaust();
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    DO(cuThreadExchangeStreamCaptureMode, &mode);
    CHECK(mode == CU_STREAM_CAPTURE_MODE_GLOBAL, "the thread's capture mode is %d", (int)mode);
    for (int i = 2; counting && i < argc; i++) printf("%s %ld\n", argv[i], driver_calls(argv[i]));
    OK(p_cuDevicePrimaryCtxRelease_v2(device));
    CHECK(truth().live == 0, "%lu bytes are left", (unsigned long)truth().live);
    return 0;
}
