/* runtime.c: the CUDA runtime, found at run time as libcudart.so.13. What it adds to the driver: the implicit context, errors that
 * are remembered, and other answers at the edges. */
#include "conform.h"
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>

#define RDOC "docs.nvidia.com/cuda/cuda-runtime-api/"
#define RMEM RDOC "group__CUDART__MEMORY.html"
#define RERROR RDOC "group__CUDART__ERROR.html"
#define RDEVICE RDOC "group__CUDART__DEVICE.html"
#define RSTREAM RDOC "group__CUDART__STREAM.html"
#define REVENT RDOC "group__CUDART__EVENT.html"
#define RGRAPH RDOC "group__CUDART__GRAPH.html"
#define RUNIFIED RDOC "group__CUDART__UNIFIED.html"
#define RPOOL RDOC "group__CUDART__MEMORY__POOLS.html"
#define RENTRY RDOC "group__CUDART__DRIVER__ENTRY__POINT.html"

static void *runtime(const char *name) {
    static void *library;
    if (!library) library = dlopen("libcudart.so.13", RTLD_NOW);
    if (!library) conform_skip("no libcudart.so.13");
    void *f = dlsym(library, name);
    if (!f) conform_fail(__FILE__, __LINE__, "libcudart.so.13 has no %s", name);
    return f;
}
#define RT(name) ((__typeof__(&name))runtime(#name))
#define RWANT(call, expected) do { cudaError_t r_ = (call); if (r_ != (expected)) conform_fail(__FILE__, __LINE__, "%s: error %d, expected %d", #call, (int)r_, (int)(expected)); } while (0)
#define ROK(call) RWANT(call, cudaSuccess)

static void start(void) {
    int n = 0;
    if (RT(cudaGetDeviceCount)(&n) != cudaSuccess || !n) conform_skip("no CUDA device");
}
static void *take(size_t n) { void *p = NULL; ROK(RT(cudaMalloc)(&p, n)); return p; }
static cudaStream_t stream(void) { cudaStream_t s; ROK(RT(cudaStreamCreateWithFlags)(&s, cudaStreamNonBlocking)); return s; }

BEHAVIOUR(malloc_of_zero_is_null_and_success, RMEM) { void *p = (void *)1; start(); ROK(RT(cudaMalloc)(&p, 0)); CHECK(p == NULL); }
BEHAVIOUR(malloc_null_result_is_invalid, RMEM) { start(); RWANT(RT(cudaMalloc)(NULL, 4), cudaErrorInvalidValue); }
BEHAVIOUR(free_of_null_is_success, RMEM) { start(); ROK(RT(cudaFree)(NULL)); }
BEHAVIOUR(free_of_null_makes_the_context, RDOC "driver-vs-runtime-api.html") { CUcontext c = NULL; start(); ROK(RT(cudaFree)(NULL)); OK(cuCtxGetCurrent(&c)); CHECK(c != NULL); }
BEHAVIOUR(runtime_uses_the_primary_context, RDOC "driver-vs-runtime-api.html") { CUcontext c, d; start(); take(64); OK(cuCtxGetCurrent(&c)); OK(cuDevicePrimaryCtxRetain(&d, 0)); CHECK(c == d); }
BEHAVIOUR(second_free_is_invalid, RMEM) { start(); void *p = take(4096); ROK(RT(cudaFree)(p)); RWANT(RT(cudaFree)(p), cudaErrorInvalidValue); }
BEHAVIOUR(out_of_memory_is_error_2, RMEM) { void *p; start(); RWANT(RT(cudaMalloc)(&p, (size_t)1 << 46), cudaErrorMemoryAllocation); }
BEHAVIOUR(last_error_is_remembered_once, RERROR) { void *p; start(); (void)RT(cudaMalloc)(&p, (size_t)1 << 46); RWANT(RT(cudaPeekAtLastError)(), cudaErrorMemoryAllocation); RWANT(RT(cudaGetLastError)(), cudaErrorMemoryAllocation); ROK(RT(cudaGetLastError)()); }
static void *last_error_here(void *out) { *(cudaError_t *)out = RT(cudaPeekAtLastError)(); return NULL; }
BEHAVIOUR(last_error_is_per_thread, RERROR) { void *p; pthread_t t; cudaError_t seen = cudaErrorUnknown; start(); (void)RT(cudaMalloc)(&p, (size_t)1 << 46); pthread_create(&t, NULL, last_error_here, &seen); pthread_join(t, NULL); CHECK(seen == cudaSuccess); }
BEHAVIOUR(success_does_not_clear_the_last_error, RERROR) { void *p; start(); (void)RT(cudaMalloc)(&p, (size_t)1 << 46); take(64); RWANT(RT(cudaGetLastError)(), cudaErrorMemoryAllocation); }
BEHAVIOUR(not_ready_is_an_answer, RSTREAM) { struct gate g; start(); take(64); cudaStream_t s = stream(); gate_close(&g, (CUstream)s); RWANT(RT(cudaStreamQuery)(s), cudaErrorNotReady); gate_open(&g); ROK(RT(cudaStreamSynchronize)(s)); ROK(RT(cudaStreamQuery)(s)); }
BEHAVIOUR(runtime_error_names, RERROR) { start(); CHECK(strcmp(RT(cudaGetErrorName)(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation") == 0); CHECK(strcmp(RT(cudaGetErrorString)(cudaErrorMemoryAllocation), "out of memory") == 0); }
BEHAVIOUR(runtime_memory_info, RMEM) { size_t f = 0, t = 0; start(); ROK(RT(cudaMemGetInfo)(&f, &t)); CHECK(f && f <= t); }
BEHAVIOUR(runtime_copy_infers_its_direction, RMEM) { int a[16] = { 3 }, b[16] = { 0 }; start(); void *p = take(64); ROK(RT(cudaMemcpy)(p, a, 64, cudaMemcpyDefault)); ROK(RT(cudaMemcpy)(b, p, 64, cudaMemcpyDefault)); CHECK(b[0] == 3); }
BEHAVIOUR(runtime_fill, RMEM) { int b = 0; start(); void *p = take(64); ROK(RT(cudaMemset)(p, 0x11, 64)); ROK(RT(cudaMemcpy)(&b, p, 4, cudaMemcpyDeviceToHost)); CHECK(b == 0x11111111); }
BEHAVIOUR(runtime_pitch, RMEM) { void *p; size_t pitch = 0; start(); ROK(RT(cudaMallocPitch)(&p, &pitch, 100, 10)); CHECK(pitch >= 100); ROK(RT(cudaFree)(p)); }
BEHAVIOUR(runtime_host_memory, RMEM) { int *p; start(); ROK(RT(cudaMallocHost)((void **)&p, 4096)); p[5] = 1; ROK(RT(cudaFreeHost)(p)); }
BEHAVIOUR(runtime_pointer_attributes_of_device_memory, RUNIFIED) { struct cudaPointerAttributes a; start(); void *p = take(64); ROK(RT(cudaPointerGetAttributes)(&a, p)); CHECK(a.type == cudaMemoryTypeDevice && a.device == 0 && a.devicePointer == p); }
BEHAVIOUR(runtime_pointer_attributes_of_unknown_memory, RUNIFIED) { struct cudaPointerAttributes a; int x; start(); take(64); ROK(RT(cudaPointerGetAttributes)(&a, &x)); CHECK(a.type == cudaMemoryTypeUnregistered); }
BEHAVIOUR(runtime_pointer_attributes_of_host_memory, RUNIFIED) { struct cudaPointerAttributes a; void *p; start(); ROK(RT(cudaMallocHost)(&p, 64)); ROK(RT(cudaPointerGetAttributes)(&a, p)); CHECK(a.type == cudaMemoryTypeHost); }
BEHAVIOUR(invalid_device_is_refused, RDEVICE) { start(); RWANT(RT(cudaSetDevice)(1000), cudaErrorInvalidDevice); }
BEHAVIOUR(device_is_zero_at_first, RDEVICE) { int d = 9; start(); ROK(RT(cudaGetDevice)(&d)); CHECK(d == 0); }
BEHAVIOUR(device_properties_agree_with_attributes, RDEVICE) { struct cudaDeviceProp p; int v; start(); ROK(RT(cudaGetDeviceProperties)(&p, 0)); ROK(RT(cudaDeviceGetAttribute)(&v, cudaDevAttrMultiProcessorCount, 0)); CHECK(p.multiProcessorCount == v && p.warpSize == 32 && p.totalGlobalMem > 0); }
BEHAVIOUR(device_reset_frees_memory, RDEVICE) { size_t f, g; start(); ROK(RT(cudaMemGetInfo)(&f, &g)); take(256 << 20); ROK(RT(cudaDeviceReset)()); ROK(RT(cudaMemGetInfo)(&g, &f)); CHECK(f - g < 1u << 30); if (simulated() && direct()) CHECK(f == g); }
BEHAVIOUR(runtime_event_time, REVENT) { cudaEvent_t a, b; float ms = -1; start(); take(64); cudaStream_t s = stream(); ROK(RT(cudaEventCreate)(&a)); ROK(RT(cudaEventCreate)(&b)); ROK(RT(cudaEventRecord)(a, s)); launch_spin(5000000, (CUstream)s); ROK(RT(cudaEventRecord)(b, s)); ROK(RT(cudaEventSynchronize)(b)); ROK(RT(cudaEventElapsedTime)(&ms, a, b)); CHECK(ms >= 4.9f); }
BEHAVIOUR(runtime_async_allocation, RPOOL) { void *p; start(); take(64); cudaStream_t s = stream(); ROK(RT(cudaMallocAsync)(&p, 4096, s)); ROK(RT(cudaMemsetAsync)(p, 0, 4096, s)); ROK(RT(cudaFreeAsync)(p, s)); ROK(RT(cudaStreamSynchronize)(s)); }
BEHAVIOUR(runtime_async_memory_may_be_freed_plainly, RPOOL) { void *p; start(); take(64); cudaStream_t s = stream(); ROK(RT(cudaMallocAsync)(&p, 4096, s)); ROK(RT(cudaStreamSynchronize)(s)); ROK(RT(cudaFree)(p)); }
BEHAVIOUR(runtime_capture_and_replay, RGRAPH) {
    cudaGraph_t g;
    cudaGraphExec_t x;
    int v = 0;
    start();
    int *p = take(64), *q = take(64);
    cudaStream_t s = stream();
    ROK(RT(cudaMemset)(p, 0x22, 64));
    ROK(RT(cudaDeviceSynchronize)());
    ROK(RT(cudaStreamBeginCapture)(s, cudaStreamCaptureModeGlobal));
    ROK(RT(cudaMemcpyAsync)(q, p, 64, cudaMemcpyDeviceToDevice, s));
    ROK(RT(cudaStreamEndCapture)(s, &g));
    ROK(RT(cudaGraphInstantiate)(&x, g, 0));
    ROK(RT(cudaGraphLaunch)(x, s));
    ROK(RT(cudaStreamSynchronize)(s));
    ROK(RT(cudaMemcpy)(&v, q, 4, cudaMemcpyDeviceToHost));
    CHECK(v == 0x22222222);
}
BEHAVIOUR(runtime_malloc_during_global_capture_fails, RSTREAM) { cudaGraph_t g = (cudaGraph_t)1; void *p; start(); take(64); cudaStream_t s = stream(); ROK(RT(cudaStreamBeginCapture)(s, cudaStreamCaptureModeGlobal)); RWANT(RT(cudaMalloc)(&p, 1 << 20), cudaErrorStreamCaptureUnsupported); RWANT(RT(cudaStreamEndCapture)(s, &g), cudaErrorStreamCaptureInvalidated); CHECK(g == NULL); }
BEHAVIOUR(runtime_entry_point_by_version, RENTRY) { void *f = NULL; enum cudaDriverEntryPointQueryResult r; start(); ROK(RT(cudaGetDriverEntryPointByVersion)("cuMemAlloc", &f, 12000, cudaEnableDefault, &r)); CHECK(f && r == cudaDriverEntryPointSuccess); }
BEHAVIOUR(runtime_unknown_entry_point, RENTRY) { void *f = (void *)1; enum cudaDriverEntryPointQueryResult r; start(); ROK(RT(cudaGetDriverEntryPointByVersion)("cuNoSuchThing", &f, 12000, cudaEnableDefault, &r)); CHECK(r == cudaDriverEntryPointSymbolNotFound); }
BEHAVIOUR(runtime_version_is_not_newer_than_the_driver, RDOC "group__CUDART____VERSION.html") { int r = 0, d = 0; start(); ROK(RT(cudaRuntimeGetVersion)(&r)); ROK(RT(cudaDriverGetVersion)(&d)); CHECK(r / 1000 <= d / 1000); }
BEHAVIOUR(runtime_sees_the_drivers_allocation, RDOC "group__CUDART__DRIVER.html") { CUdeviceptr p; struct cudaPointerAttributes a; start(); take(64); OK(cuMemAlloc(&p, 4096)); ROK(RT(cudaPointerGetAttributes)(&a, (void *)(uintptr_t)p)); CHECK(a.type == cudaMemoryTypeDevice); ROK(RT(cudaFree)((void *)(uintptr_t)p)); }
