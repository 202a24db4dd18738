/* stream.c: order within and among streams, default streams, host functions, memory operations. */
#include "conform.h"
#include <pthread.h>
#include <time.h>

static CUstream non_blocking(void) { CUstream s; OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); return s; }
static CUstream blocking(void) { CUstream s; OK(cuStreamCreate(&s, CU_STREAM_DEFAULT)); return s; }
static CUdeviceptr alloc(size_t n) { CUdeviceptr p; OK(cuMemAlloc(&p, n)); return p; }
static void CUDA_CB set_flag(void *flag) { *(_Atomic int *)flag = 1; }
static void nap(long ms) { nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL); }

BEHAVIOUR(new_stream_is_ready, STREAM) { begin(); OK(cuStreamQuery(non_blocking())); }
BEHAVIOUR(busy_stream_is_not_ready, STREAM) { struct gate g; begin(); CUstream s = non_blocking(); gate_close(&g, s); WANT(cuStreamQuery(s), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuStreamSynchronize(s)); OK(cuStreamQuery(s)); }
BEHAVIOUR(work_is_asynchronous_to_the_host, STREAM) { struct gate g; begin(); CUstream s = non_blocking(); gate_close(&g, s); launch_spin(1000, s); WANT(cuStreamQuery(s), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuStreamSynchronize(s)); }
BEHAVIOUR(a_stream_keeps_its_order, STREAM) {
    begin();
    CUstream s = non_blocking();
    CUdeviceptr p = alloc(4096);
    for (unsigned i = 0; i < 50; i++) launch_fill(p, i, 1024, s);
    OK(cuStreamSynchronize(s));
    CHECK(read_word(p) == 49);
}
BEHAVIOUR(streams_are_independent, STREAM) {
    struct gate g;
    begin();
    CUstream a = non_blocking(), b = non_blocking();
    gate_close(&g, a);
    launch_spin(1000, b);
    OK(cuStreamSynchronize(b));
    WANT(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
    gate_open(&g);
    OK(cuCtxSynchronize());
}
BEHAVIOUR(legacy_stream_waits_for_blocking_streams, STREAMSYNC) {
    begin();
    CUstream s = blocking();
    CUdeviceptr p = alloc(4096);
    launch_spin(30000000, s);
    launch_fill(p, 1, 16, s);
    launch_fill(p, 2, 16, CU_STREAM_LEGACY);
    OK(cuStreamSynchronize(CU_STREAM_LEGACY));
    CHECK(read_word(p) == 2);
}
BEHAVIOUR(blocking_streams_wait_for_the_legacy_stream, STREAMSYNC) {
    begin();
    CUstream s = blocking();
    CUdeviceptr p = alloc(4096);
    launch_spin(30000000, CU_STREAM_LEGACY);
    launch_fill(p, 1, 16, CU_STREAM_LEGACY);
    launch_fill(p, 2, 16, s);
    OK(cuStreamSynchronize(s));
    CHECK(read_word(p) == 2);
}
BEHAVIOUR(non_blocking_streams_do_not_wait_for_the_legacy_stream, STREAMSYNC) {
    struct gate g;
    begin();
    CUstream s = non_blocking();
    CUdeviceptr p = alloc(4096);
    gate_close(&g, CU_STREAM_LEGACY);
    launch_fill(p, 2, 16, s);
    OK(cuStreamSynchronize(s));
    WANT(cuStreamQuery(CU_STREAM_LEGACY), CUDA_ERROR_NOT_READY);
    gate_open(&g);
    OK(cuCtxSynchronize());
}
BEHAVIOUR(legacy_stream_does_not_wait_for_non_blocking_streams, STREAMSYNC) {
    struct gate g;
    begin();
    CUstream s = non_blocking();
    gate_close(&g, s);
    launch_spin(1000, CU_STREAM_LEGACY);
    OK(cuStreamSynchronize(CU_STREAM_LEGACY));
    WANT(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
    gate_open(&g);
    OK(cuCtxSynchronize());
}
BEHAVIOUR(null_stream_is_the_legacy_stream, STREAMSYNC) { struct gate g; begin(); gate_close(&g, NULL); WANT(cuStreamQuery(CU_STREAM_LEGACY), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuCtxSynchronize()); }

static void *query_own(void *result) {
    CUcontext c;
    OK(cuDevicePrimaryCtxRetain(&c, 0));
    OK(cuCtxSetCurrent(c));
    *(CUresult *)result = cuStreamQuery(CU_STREAM_PER_THREAD);
    return NULL;
}
BEHAVIOUR(per_thread_streams_differ_between_threads, STREAMSYNC) {
    struct gate g;
    pthread_t t;
    CUresult r = CUDA_ERROR_UNKNOWN;
    begin();
    gate_close(&g, CU_STREAM_PER_THREAD);
    CHECK(pthread_create(&t, NULL, query_own, &r) == 0);
    pthread_join(t, NULL);
    gate_open(&g);
    CHECK(r == CUDA_SUCCESS);
    OK(cuCtxSynchronize());
}
BEHAVIOUR(ptsz_functions_use_the_per_thread_stream, STREAMSYNC) {
    struct gate g;
    CUresult (*query)(CUstream);
    begin();
    OK(cuGetProcAddress("cuStreamQuery", (void **)&query, 12000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, NULL));
    gate_close(&g, CU_STREAM_PER_THREAD);
    WANT(query(NULL), CUDA_ERROR_NOT_READY);
    gate_open(&g);
    OK(cuCtxSynchronize());
    OK(query(NULL));
}
BEHAVIOUR(two_threads_null_streams_are_independent_under_ptsz, STREAMSYNC) {
    /* The thread's own stream is blocked; the legacy stream's own work before it is not. */
    struct gate g;
    pthread_t t;
    CUresult r = CUDA_ERROR_UNKNOWN;
    CUresult (*host)(CUstream, CUhostFn, void *);
    _Atomic int flag = 0;
    begin();
    OK(cuGetProcAddress("cuLaunchHostFunc", (void **)&host, 12000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, NULL));
    gate_close(&g, CU_STREAM_PER_THREAD);
    OK(host(NULL, set_flag, (void *)&flag));
    nap(20);
    CHECK(flag == 0);
    CHECK(pthread_create(&t, NULL, query_own, &r) == 0);
    pthread_join(t, NULL);
    gate_open(&g);
    OK(cuCtxSynchronize());
    CHECK(flag == 1 && r == CUDA_SUCCESS);
}
BEHAVIOUR(priorities_are_clamped, STREAM) { int p = 99, low, high; CUstream s; begin(); OK(cuCtxGetStreamPriorityRange(&low, &high)); OK(cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, -100)); OK(cuStreamGetPriority(s, &p)); CHECK(p == high); }
BEHAVIOUR(flags_are_remembered, STREAM) { unsigned f = 9; begin(); OK(cuStreamGetFlags(non_blocking(), &f)); CHECK(f == CU_STREAM_NON_BLOCKING); }
BEHAVIOUR(unknown_flags_are_invalid, STREAM) { CUstream s; begin(); WANT(cuStreamCreate(&s, 0x80), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(stream_knows_its_context, STREAM) { CUcontext c = begin(), d; OK(cuStreamGetCtx(non_blocking(), &d)); CHECK(c == d); }
BEHAVIOUR(stream_ids_differ, STREAM) { unsigned long long a, b; begin(); OK(cuStreamGetId(non_blocking(), &a)); OK(cuStreamGetId(non_blocking(), &b)); CHECK(a != b); }
BEHAVIOUR(destroying_a_busy_stream_lets_it_finish, STREAM) {
    begin();
    CUstream s = non_blocking();
    CUdeviceptr p = alloc(4096);
    launch_spin(20000000, s);
    launch_fill(p, 5, 16, s);
    OK(cuStreamDestroy(s));
    OK(cuCtxSynchronize());
    CHECK(read_word(p) == 5);
}
BEHAVIOUR(host_functions_run_in_order, EXEC) {
    _Atomic int flag = 0;
    begin();
    CUstream s = non_blocking();
    launch_spin(20000000, s);
    OK(cuLaunchHostFunc(s, set_flag, (void *)&flag));
    CHECK(flag == 0);
    OK(cuStreamSynchronize(s));
    CHECK(flag == 1);
}
BEHAVIOUR(host_function_may_not_be_null, EXEC) { begin(); WANT(cuLaunchHostFunc(non_blocking(), NULL, NULL), CUDA_ERROR_INVALID_VALUE); }
static void CUDA_CB remember(CUstream s, CUresult status, void *data) { (void)s; *(_Atomic int *)data = 100 + (int)status; }
BEHAVIOUR(callbacks_get_the_status, STREAM) { _Atomic int seen = 0; begin(); CUstream s = non_blocking(); OK(cuStreamAddCallback(s, remember, (void *)&seen, 0)); OK(cuStreamSynchronize(s)); CHECK(seen == 100); }
BEHAVIOUR(callback_flags_are_reserved, STREAM) { _Atomic int seen = 0; begin(); WANT(cuStreamAddCallback(non_blocking(), remember, (void *)&seen, 1), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(write_value_arrives, MEMOP) { begin(); CUstream s = non_blocking(); CUdeviceptr p = alloc(64); OK(cuStreamWriteValue32(s, p, 0x55, 0)); OK(cuStreamSynchronize(s)); CHECK(read_word(p) == 0x55); }
BEHAVIOUR(wait_value_holds_the_stream, MEMOP) {
    _Atomic int flag = 0;
    unsigned *word;
    begin();
    CUstream s = non_blocking();
    OK(cuMemHostAlloc((void **)&word, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    *word = 0;
    OK(cuStreamWaitValue32(s, (CUdeviceptr)(uintptr_t)word, 3, CU_STREAM_WAIT_VALUE_GEQ));
    OK(cuLaunchHostFunc(s, set_flag, (void *)&flag));
    nap(20);
    CHECK(flag == 0);
    __atomic_store_n(word, 4, __ATOMIC_RELEASE);
    OK(cuStreamSynchronize(s));
    CHECK(flag == 1);
}
BEHAVIOUR(a_stream_can_release_another_by_value, MEMOP) {
    begin();
    CUstream a = non_blocking(), b = non_blocking();
    CUdeviceptr p = alloc(64);
    OK(cuMemsetD32(p, 0, 4));
    OK(cuCtxSynchronize());
    OK(cuStreamWaitValue32(a, p, 1, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuStreamWriteValue32(b, p, 1, 0));
    OK(cuStreamSynchronize(a));
}
BEHAVIOUR(misaligned_value_is_invalid, MEMOP) { begin(); FAILS(cuStreamWriteValue32(non_blocking(), alloc(64) + 1, 1, 0)); }
BEHAVIOUR(synchronous_copy_waits_for_the_legacy_stream_order, SYNC) { begin(); CUdeviceptr p = alloc(64); unsigned v; launch_spin(20000000, NULL); launch_fill(p, 6, 4, NULL); OK(cuMemcpyDtoH(&v, p, 4)); CHECK(v == 6); }
BEHAVIOUR(not_capturing, STREAM) { CUstreamCaptureStatus st = 9; begin(); OK(cuStreamIsCapturing(non_blocking(), &st)); CHECK(st == CU_STREAM_CAPTURE_STATUS_NONE); }
