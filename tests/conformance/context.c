/* context.c: primary and created contexts, the stack, limits. */
#include "conform.h"
#include <pthread.h>

static CUcontext current(void) {
    CUcontext c;
    OK(cuCtxGetCurrent(&c));
    return c;
}

BEHAVIOUR(no_context_at_first, CONTEXT) {
    CUcontext c = (CUcontext)1;
    begin();
    OK(cuCtxSetCurrent(NULL));
    OK(cuCtxGetCurrent(&c));
    CHECK(c == NULL);
}
BEHAVIOUR(allocation_without_context_fails, CONTEXT) {
    CUdeviceptr p;
    begin();
    OK(cuCtxSetCurrent(NULL));
    WANT(cuMemAlloc(&p, 4), CUDA_ERROR_INVALID_CONTEXT);
}
BEHAVIOUR(pop_of_an_empty_stack, CONTEXT) {
    CUcontext c;
    begin();
    OK(cuCtxSetCurrent(NULL));
    WANT(cuCtxPopCurrent(&c), CUDA_ERROR_INVALID_CONTEXT);
}
BEHAVIOUR(create_makes_it_current, CONTEXT) {
    CUcontext c;
    begin();
    OK(cuCtxCreate(&c, NULL, 0, 0));
    CHECK(current() == c);
    OK(cuCtxDestroy(c));
}
BEHAVIOUR(destroy_pops_the_current_context, CONTEXT) {
    CUcontext p = begin(), c;
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuCtxDestroy(c));
    CHECK(current() == p);
}
BEHAVIOUR(push_and_pop_nest, CONTEXT) {
    CUcontext p = begin(), c, popped;
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuCtxPushCurrent(p));
    CHECK(current() == p);
    OK(cuCtxPopCurrent(&popped));
    CHECK(popped == p && current() == c);
}
BEHAVIOUR(set_current_replaces_the_top, CONTEXT) {
    CUcontext p = begin(), c;
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuCtxSetCurrent(p));
    CHECK(current() == p);
    OK(cuCtxPopCurrent(&c));
    CHECK(current() == p);
}
static void *look(void *seen) {
    OK(cuCtxGetCurrent(seen));
    return NULL;
}
BEHAVIOUR(current_context_is_per_thread, CONTEXT) {
    begin();
    pthread_t t;
    CUcontext seen = (CUcontext)1;
    CHECK(pthread_create(&t, NULL, look, &seen) == 0);
    pthread_join(t, NULL);
    CHECK(seen == NULL);
}
BEHAVIOUR(context_knows_its_device, CONTEXT) { CUdevice d = 9; begin(); OK(cuCtxGetDevice(&d)); CHECK(d == 0); }
BEHAVIOUR(context_ids_differ, CONTEXT) {
    unsigned long long a, b;
    CUcontext p = begin(), c;
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuCtxGetId(p, &a));
    OK(cuCtxGetId(c, &b));
    CHECK(a != b);
}
BEHAVIOUR(destroyed_context_frees_its_memory, CONTEXT) {
    CUcontext c;
    CUdeviceptr p;
    begin();
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuCtxDestroy(c));                 /* what a context itself costs is spent */
    size_t before = free_memory();
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuMemAlloc(&p, 256 << 20));
    OK(cuCtxDestroy(c));
    CHECK(free_memory() + (64 << 20) >= before);
}
BEHAVIOUR(limits_can_be_read, CONTEXT) { size_t n = 0; begin(); OK(cuCtxGetLimit(&n, CU_LIMIT_STACK_SIZE)); CHECK(n > 0); }
BEHAVIOUR(limits_can_be_set, CONTEXT) { size_t n = 0; begin(); OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096)); OK(cuCtxGetLimit(&n, CU_LIMIT_STACK_SIZE)); CHECK(n >= 4096); }
BEHAVIOUR(unknown_limit_is_refused, CONTEXT) { size_t n; begin(); WANT_ANY(cuCtxGetLimit(&n, (CUlimit)999), CUDA_ERROR_UNSUPPORTED_LIMIT, CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(priority_range_is_ordered, CONTEXT) { int low, high; begin(); OK(cuCtxGetStreamPriorityRange(&low, &high)); CHECK(high <= low && low == 0); }
BEHAVIOUR(priority_range_outputs_may_be_null, CONTEXT) { begin(); OK(cuCtxGetStreamPriorityRange(NULL, NULL)); }
BEHAVIOUR(context_flags_can_be_read, CONTEXT) { unsigned f = 77; begin(); OK(cuCtxGetFlags(&f)); CHECK((f & ~(unsigned)CU_CTX_FLAGS_MASK) == 0); }

BEHAVIOUR(primary_context_is_one, PRIMARY) {
    CUcontext a = begin(), b;
    OK(cuDevicePrimaryCtxRetain(&b, 0));
    CHECK(a == b);
}
BEHAVIOUR(primary_release_too_often, PRIMARY) {
    begin();
    OK(cuDevicePrimaryCtxRelease(0));
    WANT(cuDevicePrimaryCtxRelease(0), CUDA_ERROR_INVALID_CONTEXT);
}
BEHAVIOUR(primary_state_follows_retains, PRIMARY) {
    unsigned flags;
    int active = 9;
    begin();
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    CHECK(active == 1);
    OK(cuDevicePrimaryCtxRelease(0));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    CHECK(active == 0);
}
/* 256 MiB in the primary context, looked at from another; what was free before. */
static size_t take_in_primary(void) {
    CUdeviceptr p;
    CUcontext c, d = begin();
    OK(cuCtxCreate(&c, NULL, 0, 0));
    size_t before = free_memory();
    OK(cuCtxPushCurrent(d));
    OK(cuMemAlloc(&p, 256 << 20));
    OK(cuCtxPopCurrent(NULL));
    return before;
}
BEHAVIOUR(primary_release_frees_memory, PRIMARY) {
    size_t before = take_in_primary();
    OK(cuDevicePrimaryCtxRelease(0));
    CHECK(free_memory() >= before);
}
BEHAVIOUR(primary_reset_destroys_allocations, PRIMARY) {
    size_t before = take_in_primary();
    OK(cuDevicePrimaryCtxReset(0));
    CHECK(free_memory() + (64 << 20) >= before);
}
BEHAVIOUR(primary_context_is_not_destroyed_by_handle, PRIMARY) { CUcontext c = begin(); FAILS(cuCtxDestroy(c)); }
BEHAVIOUR(primary_flags_unknown, PRIMARY) { begin(); WANT(cuDevicePrimaryCtxSetFlags(0, 0x8000), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(synchronize_waits_for_all_streams, CONTEXT) {
    CUstream a, b;
    begin();
    OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
    launch_spin(20000000, a);
    launch_spin(30000000, b);
    OK(cuCtxSynchronize());
    OK(cuStreamQuery(a));
    OK(cuStreamQuery(b));
}
