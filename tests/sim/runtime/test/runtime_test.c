/* runtime_test.c: promises of the CUDA runtime that its documentation makes, each a case that reads as a sentence.
 * Built twice, against the 12.x and the 13.x headers, and run against the library of the same version. The program
 * registers an image by nvcc's host interface itself, so no compiler for devices is needed. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../driver/simctl.h"
#include "../nvcc_interface.h"

static int failures;
#define EXPECT(condition) do { if (!(condition)) { failures++; printf("  %s:%d: %s\n", __func__, __LINE__, #condition); } } while (0)
#define EXPECT_CODE(call, code) do { \
    cudaError_t got_ = (call); \
    if (got_ != (code)) { failures++; printf("  %s:%d: %s is %s, not %s\n", __func__, __LINE__, #call, cudaGetErrorName(got_), #code); } \
} while (0)
#define EXPECT_OK(call) EXPECT_CODE(call, cudaSuccess)

/* --- an image with one kernel and two variables, registered before main as generated code does */
static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry empty(.param .u64 p)\n{\n ret;\n}\n"
                          ".visible .global .align 4 .b8 table[4096];\n";
static const struct fatbin_wrapper wrapper = { 0x466243b1, 1, (const void *)ptx, NULL };
static void **image;
static char host_table[4096];
static void host_kernel(void) {}
static void host_stranger(void) {}

__attribute__((constructor)) static void register_image(void)
{
    image = __cudaRegisterFatBinary((void *)&wrapper);
    __cudaRegisterFunction(image, (const char *)host_kernel, (char *)"empty", "empty", -1, NULL, NULL, NULL, NULL, NULL);
    __cudaRegisterVar(image, host_table, (char *)"table", "table", 0, sizeof host_table, 0, 0);
    __cudaRegisterFatBinaryEnd(image);
}

/* --- cases */
static void size_zero_is_success_and_null(void)
{
    void *p = &p;
    size_t pitch = 1;
    EXPECT_OK(cudaMalloc(&p, 0));
    EXPECT(!p);
    EXPECT_OK(cudaFree(NULL));
    EXPECT_OK(cudaMallocPitch(&p, &pitch, 0, 8));
    EXPECT(!p);
    EXPECT_OK(cudaHostAlloc(&p, 0, 0));
    EXPECT(!p);
    EXPECT_OK(cudaFreeHost(NULL));
}

static void an_error_is_remembered_until_it_is_asked_for(void)
{
    void *p;
    size_t all, available;
    EXPECT_OK(cudaMemGetInfo(&available, &all));
    EXPECT_CODE(cudaMalloc(&p, all * 2), cudaErrorMemoryAllocation);
    EXPECT_CODE(cudaPeekAtLastError(), cudaErrorMemoryAllocation);
    EXPECT_OK(cudaMalloc(&p, 1024));
    EXPECT_CODE(cudaGetLastError(), cudaErrorMemoryAllocation);
    EXPECT_OK(cudaGetLastError());
    EXPECT_OK(cudaFree(p));
    EXPECT_CODE(cudaFree(p), cudaErrorInvalidValue);
    EXPECT_CODE(cudaGetLastError(), cudaErrorInvalidValue);
}

static void *peek(void *result) { return *(cudaError_t *)result = cudaPeekAtLastError(), NULL; }
static void the_last_error_is_the_threads_own(void)
{
    pthread_t thread;
    cudaError_t other = cudaErrorUnknown;
    EXPECT_CODE(cudaSetDevice(99), cudaErrorInvalidDevice);
    pthread_create(&thread, NULL, peek, &other);
    pthread_join(thread, NULL);
    EXPECT(other == cudaSuccess);
    EXPECT_CODE(cudaGetLastError(), cudaErrorInvalidDevice);
}

static void errors_have_their_enums_names(void)
{
    EXPECT(!strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation"));
    EXPECT(!strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory"));
    EXPECT(!strcmp(cudaGetErrorString(cudaSuccess), "no error"));
    EXPECT(!strcmp(cudaGetErrorName((cudaError_t)12345), "unrecognized error code"));
    EXPECT(strlen(cudaGetErrorString(cudaErrorIllegalAddress)) > 10);
}

static void devices_describe_themselves(void)
{
    struct cudaDeviceProp p;
    int count = 0, value = 0, device = -1, version = 0;
    char bus[32];
    EXPECT_OK(cudaGetDeviceCount(&count));
    EXPECT(count >= 1);
    memset(&p, 0x5a, sizeof p);
    EXPECT_OK(cudaGetDeviceProperties(&p, 0));
    EXPECT(strlen(p.name) > 0 && p.warpSize == 32 && p.maxThreadsPerBlock == 1024 && p.totalGlobalMem > 0);
    EXPECT(p.maxGridSize[1] == 65535 && p.unifiedAddressing == 1 && p.memoryPoolsSupported == 1);
    EXPECT_OK(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 0));
    EXPECT(value == p.major);
    EXPECT_CODE(cudaGetDeviceProperties(&p, count), cudaErrorInvalidDevice);
    cudaGetLastError();
    EXPECT_OK(cudaDeviceGetPCIBusId(bus, sizeof bus, 0));
    EXPECT_OK(cudaDeviceGetByPCIBusId(&device, bus));
    EXPECT(device == 0);
    EXPECT_OK(cudaRuntimeGetVersion(&version));
    EXPECT(version == CUDART_VERSION);
    EXPECT_OK(cudaDriverGetVersion(&version));
    EXPECT(version >= 12000);
}

static void copies_move_bytes_both_ways(void)
{
    static char there[10000], back[10000];
    void *p, *q;
    for (size_t i = 0; i < sizeof there; i++)
        there[i] = (char)(i * 7);
    EXPECT_OK(cudaMalloc(&p, sizeof there));
    EXPECT_OK(cudaMalloc(&q, sizeof there));
    EXPECT_OK(cudaMemcpy(p, there, sizeof there, cudaMemcpyHostToDevice));
    EXPECT_OK(cudaMemcpy(q, p, sizeof there, cudaMemcpyDefault));
    EXPECT_OK(cudaMemcpy(back, q, sizeof there, cudaMemcpyDeviceToHost));
    EXPECT(!memcmp(there, back, sizeof there));
    EXPECT_OK(cudaMemset(q, 0x11, 100));
    EXPECT_OK(cudaMemcpy2D(back, 10, q, 100, 10, 50, cudaMemcpyDeviceToHost));
    EXPECT(back[0] == 0x11 && back[9] == 0x11 && back[10] == there[100]);
    EXPECT_CODE(cudaMemcpy(p, there, 1, (enum cudaMemcpyKind)9), cudaErrorInvalidMemcpyDirection);
    EXPECT_CODE(cudaMemcpy2D(back, 5, q, 100, 10, 5, cudaMemcpyDeviceToHost), cudaErrorInvalidPitchValue);
    EXPECT_OK(cudaMemcpy(p, NULL, 0, cudaMemcpyHostToDevice));
    cudaGetLastError();
    EXPECT_OK(cudaFree(p));
    EXPECT_OK(cudaFree(q));
}

static void three_dimensions_keep_their_pitch(void)
{
    static unsigned char host[4][5][6], back[4][5][6];
    struct cudaPitchedPtr device;
    struct cudaExtent extent = { 6, 5, 4 };
    for (size_t i = 0; i < sizeof host; i++)
        (&host[0][0][0])[i] = (unsigned char)i;
    EXPECT_OK(cudaMalloc3D(&device, extent));
    struct cudaMemcpy3DParms there = { .srcPtr = { host, 6, 6, 5 }, .dstPtr = device, .extent = extent, .kind = cudaMemcpyHostToDevice };
    struct cudaMemcpy3DParms home = { .srcPtr = device, .dstPtr = { back, 6, 6, 5 }, .extent = extent, .kind = cudaMemcpyDeviceToHost };
    EXPECT_OK(cudaMemcpy3D(&there));
    EXPECT_OK(cudaMemcpy3D(&home));
    EXPECT(!memcmp(host, back, sizeof host));
    EXPECT_OK(cudaFree(device.ptr));
}

static void arrays_take_and_give_back_rows(void)
{
    static float host[4][8], back[4][8];
    struct cudaChannelFormatDesc desc = cudaCreateChannelDesc(32, 0, 0, 0, cudaChannelFormatKindFloat), again;
    struct cudaExtent extent;
    cudaArray_t array;
    unsigned flags;
    for (int i = 0; i < 32; i++)
        host[i / 8][i % 8] = (float)i;
    EXPECT_OK(cudaMallocArray(&array, &desc, 8, 4, 0));
    EXPECT_OK(cudaArrayGetInfo(&again, &extent, &flags, array));
    EXPECT(again.x == 32 && again.f == cudaChannelFormatKindFloat && extent.width == 8 && extent.height == 4 && extent.depth == 0);
    EXPECT_OK(cudaMemcpy2DToArray(array, 0, 0, host, 32, 32, 4, cudaMemcpyHostToDevice));
    EXPECT_OK(cudaMemcpy2DFromArray(back, 32, array, 0, 0, 32, 4, cudaMemcpyDeviceToHost));
    EXPECT(!memcmp(host, back, sizeof host));
    memset(back, 0, sizeof back);
    struct cudaMemcpy3DParms p = { .srcArray = array, .dstPtr = { back, 32, 8, 4 }, .extent = { 8, 4, 1 }, .kind = cudaMemcpyDeviceToHost };
    EXPECT_OK(cudaMemcpy3D(&p));
    EXPECT(!memcmp(host, back, sizeof host));
    EXPECT_OK(cudaFreeArray(array));
}

static void pointers_know_what_they_are(void)
{
    struct cudaPointerAttributes a;
    void *device, *pinned, *managed;
    int local;
    EXPECT_OK(cudaMalloc(&device, 4096));
    EXPECT_OK(cudaMallocHost(&pinned, 4096));
    EXPECT_OK(cudaMallocManaged(&managed, 4096, cudaMemAttachGlobal));
    EXPECT_OK(cudaPointerGetAttributes(&a, (char *)device + 100));
    EXPECT(a.type == cudaMemoryTypeDevice && a.device == 0 && a.devicePointer == (char *)device + 100);
    EXPECT_OK(cudaPointerGetAttributes(&a, pinned));
    EXPECT(a.type == cudaMemoryTypeHost && a.hostPointer == pinned);
    EXPECT_OK(cudaPointerGetAttributes(&a, managed));
    EXPECT(a.type == cudaMemoryTypeManaged);
    EXPECT_OK(cudaPointerGetAttributes(&a, &local));
    EXPECT(a.type == cudaMemoryTypeUnregistered && !a.devicePointer);
    EXPECT_OK(cudaFree(device));
    EXPECT_OK(cudaFree(managed));
    EXPECT_OK(cudaFreeHost(pinned));
}

static void a_registered_kernel_is_found_and_launched(void)
{
    struct cudaFuncAttributes attributes;
    cudaKernel_t kernel = NULL;
    const char *name = NULL;
    int blocks = 0;
    void *pointer = NULL, *args[] = { &pointer };
    EXPECT_OK(cudaLaunchKernel((const void *)host_kernel, (dim3){ 1, 1, 1 }, (dim3){ 32, 1, 1 }, args, 0, NULL));
    EXPECT_OK(__cudaGetKernel(&kernel, (const void *)host_kernel));
    EXPECT(kernel);
    EXPECT_OK(__cudaLaunchKernel(kernel, (dim3){ 1, 1, 1 }, (dim3){ 32, 1, 1 }, args, 0, NULL));
    EXPECT_OK(cudaLaunchKernel((const void *)kernel, (dim3){ 1, 1, 1 }, (dim3){ 32, 1, 1 }, args, 0, NULL));
    EXPECT_OK(cudaDeviceSynchronize());
    EXPECT_OK(cudaFuncGetAttributes(&attributes, (const void *)host_kernel));
    EXPECT(attributes.maxThreadsPerBlock > 0);
    EXPECT_OK(cudaFuncSetAttribute((const void *)host_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 65536));
    EXPECT_OK(cudaFuncGetName(&name, (const void *)host_kernel));
    EXPECT(name && !strcmp(name, "empty"));
    EXPECT_OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, (const void *)host_kernel, 128, 0));
    EXPECT(blocks > 0);
    EXPECT_CODE(cudaLaunchKernel((const void *)host_stranger, (dim3){ 1, 1, 1 }, (dim3){ 1, 1, 1 }, NULL, 0, NULL), cudaErrorInvalidDeviceFunction);
    EXPECT_CODE(cudaLaunchKernel((const void *)host_kernel, (dim3){ 1, 1, 1 }, (dim3){ 2048, 1, 1 }, args, 0, NULL), cudaErrorInvalidConfiguration);
    cudaGetLastError();
}

static void call_configurations_nest(void)
{
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
    EXPECT(__cudaPushCallConfiguration((dim3){ 1, 2, 3 }, (dim3){ 4, 5, 6 }, 7, (cudaStream_t)8) == 0);
    EXPECT(__cudaPushCallConfiguration((dim3){ 9, 1, 1 }, (dim3){ 1, 1, 1 }, 0, NULL) == 0);
    EXPECT_OK(__cudaPopCallConfiguration(&grid, &block, &shared, &stream));
    EXPECT(grid.x == 9);
    EXPECT_OK(__cudaPopCallConfiguration(&grid, &block, &shared, &stream));
    EXPECT(grid.z == 3 && block.y == 5 && shared == 7 && stream == (cudaStream_t)8);
    EXPECT_CODE(__cudaPopCallConfiguration(&grid, &block, &shared, &stream), cudaErrorMissingConfiguration);
    cudaGetLastError();
}

static void variables_are_reached_by_their_host_address(void)
{
    char back[16] = "";
    void *address = NULL;
    size_t size = 0;
    EXPECT_OK(cudaGetSymbolAddress(&address, host_table));
    EXPECT_OK(cudaGetSymbolSize(&size, host_table));
    EXPECT(address && size == sizeof host_table);
    EXPECT_OK(cudaMemcpyToSymbol(host_table, "hello", 6, 100, cudaMemcpyHostToDevice));
    EXPECT_OK(cudaMemcpyFromSymbol(back, host_table, 6, 100, cudaMemcpyDeviceToHost));
    EXPECT(!strcmp(back, "hello"));
    EXPECT_CODE(cudaMemcpyToSymbol(host_table, "x", 1, sizeof host_table, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_CODE(cudaGetSymbolAddress(&address, back), cudaErrorInvalidSymbol);
    cudaGetLastError();
}

static void streams_and_events_order_work(void)
{
    cudaStream_t s, t;
    cudaEvent_t a, b;
    float ms = -1;
    int least, greatest;
    void *pinned, *device;
    EXPECT_OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    EXPECT_OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    EXPECT_OK(cudaStreamCreateWithPriority(&t, cudaStreamNonBlocking, greatest));
    EXPECT_OK(cudaEventCreate(&a));
    EXPECT_OK(cudaEventCreate(&b));
    EXPECT_OK(cudaMallocHost(&pinned, 1 << 20));
    EXPECT_OK(cudaMalloc(&device, 1 << 20));
    EXPECT_OK(cudaEventRecord(a, s));
    EXPECT_OK(cudaMemsetAsync(device, 0x33, 1 << 20, s));
    EXPECT_OK(cudaEventRecord(b, s));
    EXPECT_OK(cudaStreamWaitEvent(t, b, 0));
    EXPECT_OK(cudaMemcpyAsync(pinned, device, 1 << 20, cudaMemcpyDeviceToHost, t));
    EXPECT_OK(cudaStreamSynchronize(t));
    EXPECT(((char *)pinned)[12345] == 0x33);
    EXPECT_OK(cudaEventSynchronize(b));
    EXPECT_OK(cudaEventElapsedTime(&ms, a, b));
    EXPECT(ms >= 0);
    EXPECT_OK(cudaStreamQuery(s));
    EXPECT_OK(cudaEventDestroy(a));
    EXPECT_OK(cudaEventDestroy(b));
    EXPECT_OK(cudaStreamDestroy(s));
    EXPECT_OK(cudaStreamDestroy(t));
    EXPECT_OK(cudaFree(device));
    EXPECT_OK(cudaFreeHost(pinned));
}

static void a_captured_copy_runs_at_every_launch(void)
{
    cudaStream_t s;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    size_t nodes = 0;
    int *pinned;
    void *device;
    enum cudaStreamCaptureStatus status;
    EXPECT_OK(cudaStreamCreate(&s));
    EXPECT_OK(cudaMallocHost((void **)&pinned, 8));
    EXPECT_OK(cudaMalloc(&device, 8));
    EXPECT_OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    EXPECT_OK(cudaStreamIsCapturing(s, &status));
    EXPECT(status == cudaStreamCaptureStatusActive);
    EXPECT_OK(cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, s));
    EXPECT_OK(cudaMemcpyAsync(pinned + 1, device, 4, cudaMemcpyDeviceToHost, s));
    EXPECT_OK(cudaStreamEndCapture(s, &graph));
    EXPECT_OK(cudaGraphGetNodes(graph, NULL, &nodes));
    EXPECT(nodes == 2);
    EXPECT_OK(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 1; i < 5; i++) {
        pinned[0] = i;
        EXPECT_OK(cudaGraphLaunch(exec, s));
        EXPECT_OK(cudaStreamSynchronize(s));
        EXPECT(pinned[1] == i);
    }
    EXPECT_OK(cudaGraphExecDestroy(exec));
    EXPECT_OK(cudaGraphDestroy(graph));
    EXPECT_OK(cudaStreamDestroy(s));
    EXPECT_OK(cudaFree(device));
    EXPECT_OK(cudaFreeHost(pinned));
}

static void a_graph_is_built_by_hand(void)
{
    cudaGraph_t graph;
    cudaGraphNode_t fill, copy, kernel;
    cudaGraphExec_t exec;
    void *device, *pointer = NULL, *args[] = { &pointer };
    char back[64] = "";
    EXPECT_OK(cudaMalloc(&device, 64));
    EXPECT_OK(cudaGraphCreate(&graph, 0));
    struct cudaMemsetParams set = { .dst = device, .value = 0x42, .elementSize = 1, .width = 64, .height = 1 };
    struct cudaKernelNodeParams k = { .func = (void *)host_kernel, .gridDim = { 1, 1, 1 }, .blockDim = { 1, 1, 1 }, .kernelParams = args };
    EXPECT_OK(cudaGraphAddMemsetNode(&fill, graph, NULL, 0, &set));
    EXPECT_OK(cudaGraphAddKernelNode(&kernel, graph, &fill, 1, &k));
    EXPECT_OK(cudaGraphAddMemcpyNode1D(&copy, graph, &kernel, 1, back, device, 64, cudaMemcpyDeviceToHost));
    memset(&k, 0, sizeof k);
    EXPECT_OK(cudaGraphKernelNodeGetParams(kernel, &k));
    EXPECT(k.func == (void *)host_kernel && k.blockDim.x == 1);
    EXPECT_OK(cudaGraphInstantiateWithFlags(&exec, graph, 0));
    EXPECT_OK(cudaGraphLaunch(exec, NULL));
    EXPECT_OK(cudaDeviceSynchronize());
    EXPECT(back[63] == 0x42);
    EXPECT_OK(cudaGraphExecDestroy(exec));
    EXPECT_OK(cudaGraphDestroy(graph));
    EXPECT_OK(cudaFree(device));
}

static void pools_allocate_in_stream_order(void)
{
    cudaMemPool_t pool;
    cudaStream_t s;
    void *p;
    unsigned long long threshold = ~0ull, used = 1;
    EXPECT_OK(cudaStreamCreate(&s));
    EXPECT_OK(cudaDeviceGetDefaultMemPool(&pool, 0));
    EXPECT_OK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
    EXPECT_OK(cudaMallocAsync(&p, 1 << 20, s));
    EXPECT_OK(cudaMemsetAsync(p, 1, 1 << 20, s));
    EXPECT_OK(cudaFreeAsync(p, s));
    EXPECT_OK(cudaStreamSynchronize(s));
    EXPECT_OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
    EXPECT(used == 0);
    EXPECT_OK(cudaMemPoolTrimTo(pool, 0));
    EXPECT_OK(cudaStreamDestroy(s));
}

static void the_version_picks_the_drivers_abi(void)
{
    enum cudaDriverEntryPointQueryResult status;
    void *old = NULL, *now = NULL, *none = &none;
    EXPECT_OK(cudaGetDriverEntryPointByVersion("cuMemAlloc", &old, 2000, cudaEnableDefault, &status));
    EXPECT_OK(cudaGetDriverEntryPointByVersion("cuMemAlloc", &now, 12000, cudaEnableDefault, &status));
    EXPECT(now && status == cudaDriverEntryPointSuccess);
    EXPECT(old != now);
    EXPECT_OK(cudaGetDriverEntryPointByVersion("cuNoSuchThing", &none, 12000, cudaEnableDefault, &status));
    EXPECT(!none && status == cudaDriverEntryPointSymbolNotFound);
    cudaGetLastError();
}

static void a_reset_takes_allocations_and_the_device_works_again(void)
{
    size_t before, after, total;
    void *p;
    EXPECT_OK(cudaMemGetInfo(&before, &total));
    EXPECT_OK(cudaMalloc(&p, 64 << 20));
    EXPECT_OK(cudaDeviceReset());
    EXPECT_OK(cudaMemGetInfo(&after, &total));
    EXPECT(after >= before);
    EXPECT_OK(cudaMalloc(&p, 4096));
    EXPECT_OK(cudaFree(p));
    a_registered_kernel_is_found_and_launched();
}

/* A twin that touches memory nobody has: on a real GPU a kernel would have to. Skipped where there is no simulator. */
static typeof(simctl_touch) *touch;
static void touch_nothing(const struct simctl_launch *launch) { (void)launch, (void)touch(64, 4, true); }

static void a_fault_is_sticky_for_the_rest_of_the_process(void)
{
    void *library = dlopen("libcoppice-simctl.so", RTLD_NOW), *p, *pointer = NULL, *args[] = { &pointer };
    typeof(simctl_register_twin) *set = library ? dlsym(library, "simctl_register_twin") : NULL;
    touch = library ? dlsym(library, "simctl_touch") : NULL;
    if (!set || !touch || !set("empty", touch_nothing))
        return;
    EXPECT_OK(cudaLaunchKernel((const void *)host_kernel, (dim3){ 1, 1, 1 }, (dim3){ 1, 1, 1 }, args, 0, NULL));
    EXPECT_CODE(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    EXPECT_CODE(cudaMalloc(&p, 16), cudaErrorIllegalAddress);
    EXPECT_CODE(cudaGetLastError(), cudaErrorIllegalAddress);
    EXPECT_CODE(cudaGetLastError(), cudaErrorIllegalAddress);
}

static void *allocate_after_reset(void *out)
{
    void *p;
    cudaError_t e = cudaMalloc(&p, 4096);
    *(cudaError_t *)out = e ? e : cudaFree(p);
    return NULL;
}
static pthread_barrier_t turn;
static void *bound_before(void *out)
{
    cudaSetDevice(0);
    pthread_barrier_wait(&turn);         /* bound to the context that is about to be reset */
    pthread_barrier_wait(&turn);
    return allocate_after_reset(out);
}
static void a_reset_reaches_threads_that_were_bound_before(void)
{
    pthread_t thread;
    cudaError_t result = cudaErrorUnknown;
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, bound_before, &result);
    pthread_barrier_wait(&turn);
    EXPECT_OK(cudaDeviceReset());
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
    EXPECT_CODE(result, cudaSuccess);
}

static void what_is_not_simulated_is_declined(void)
{
    cudaTextureObject_t texture;
    const void *nothing;
    cudaUUID_t id = { { 0 } };
    EXPECT_CODE(cudaCreateTextureObject(&texture, NULL, NULL, NULL), cudaErrorNotSupported);
    EXPECT_CODE(cudaGetExportTable(&nothing, &id), cudaErrorNotSupported);
    cudaGetLastError();
}

static void the_threads_default_stream_is_its_own(void)
{
    void *device;
    int value = 5, back = 0;
    EXPECT_OK(cudaMalloc(&device, 4));
    EXPECT_OK(cudaMemcpy_ptds(device, &value, 4, cudaMemcpyHostToDevice));
    EXPECT_OK(cudaMemcpyAsync_ptsz(&back, device, 4, cudaMemcpyDeviceToHost, NULL));
    EXPECT_OK(cudaStreamSynchronize_ptsz(NULL));
    EXPECT(back == 5);
    EXPECT_OK(cudaFree(device));
}

int main(void)
{
#define RUN(name) do { int before = failures; name(); printf("%s %s\n", failures == before ? "ok  " : "FAIL", #name); } while (0)
    RUN(size_zero_is_success_and_null);
    RUN(an_error_is_remembered_until_it_is_asked_for);
    RUN(the_last_error_is_the_threads_own);
    RUN(errors_have_their_enums_names);
    RUN(devices_describe_themselves);
    RUN(copies_move_bytes_both_ways);
    RUN(three_dimensions_keep_their_pitch);
    RUN(arrays_take_and_give_back_rows);
    RUN(pointers_know_what_they_are);
    RUN(a_registered_kernel_is_found_and_launched);
    RUN(call_configurations_nest);
    RUN(variables_are_reached_by_their_host_address);
    RUN(streams_and_events_order_work);
    RUN(a_captured_copy_runs_at_every_launch);
    RUN(a_graph_is_built_by_hand);
    RUN(pools_allocate_in_stream_order);
    RUN(the_version_picks_the_drivers_abi);
    RUN(a_reset_takes_allocations_and_the_device_works_again);
    RUN(a_reset_reaches_threads_that_were_bound_before);
    RUN(what_is_not_simulated_is_declined);
    RUN(the_threads_default_stream_is_its_own);
    RUN(a_fault_is_sticky_for_the_rest_of_the_process); /* last: nothing works after it */
    return failures != 0;
}
