/* pool.c: stream-ordered allocation and memory pools. */
#include "conform.h"

static CUstream stream(void) { CUstream s; OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); return s; }
static CUdeviceptr take(size_t n, CUstream s) { CUdeviceptr p; OK(cuMemAllocAsync(&p, n, s)); return p; }
static CUmemoryPool pool(void) { CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED }; CUmemoryPool p; props.location.type = CU_MEM_LOCATION_TYPE_DEVICE; OK(cuMemPoolCreate(&p, &props)); return p; }
static CUdeviceptr from(CUmemoryPool m, size_t n, CUstream s) { CUdeviceptr p; OK(cuMemAllocFromPoolAsync(&p, n, m, s)); return p; }
static cuuint64_t number(CUmemoryPool p, CUmemPool_attribute a) { cuuint64_t v = 77; OK(cuMemPoolGetAttribute(p, a, &v)); return v; }
static void threshold(CUmemoryPool p, cuuint64_t v) { OK(cuMemPoolSetAttribute(p, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &v)); }

BEHAVIOUR(async_allocation_is_usable_in_its_stream, POOLS) { begin(); CUstream s = stream(); CUdeviceptr p = take(4096, s); launch_fill(p, 3, 1024, s); OK(cuStreamSynchronize(s)); CHECK(read_word(p) == 3); OK(cuMemFreeAsync(p, s)); OK(cuStreamSynchronize(s)); }
BEHAVIOUR(async_size_zero_is_invalid, POOLS) { CUdeviceptr p; begin(); WANT(cuMemAllocAsync(&p, 0, stream()), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(async_too_much_is_out_of_memory, POOLS) { CUdeviceptr p; begin(); WANT(cuMemAllocAsync(&p, (size_t)1 << 44, stream()), CUDA_ERROR_OUT_OF_MEMORY); }
BEHAVIOUR(async_free_of_unknown_is_invalid, POOLS) { begin(); WANT(cuMemFreeAsync(0x1234500, stream()), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(async_memory_may_be_freed_synchronously, POOLS) { begin(); CUstream s = stream(); CUdeviceptr p = take(4096, s); OK(cuStreamSynchronize(s)); OK(cuMemFree(p)); }
BEHAVIOUR(async_free_does_not_wait, POOLS) { struct gate g; begin(); CUstream s = stream(); CUdeviceptr p = take(4096, s); gate_close(&g, s); OK(cuMemFreeAsync(p, s)); WANT(cuStreamQuery(s), CUDA_ERROR_NOT_READY); gate_open(&g); OK(cuStreamSynchronize(s)); }
BEHAVIOUR(async_free_keeps_stream_order, POOLS) {
    begin();
    CUmemoryPool m = pool();
    threshold(m, ~0ull);
    CUstream a = stream(), b = stream();
    CUdeviceptr p = from(m, 1 << 20, a);
    launch_spin(40000000, a);
    launch_fill(p, 1, 1 << 18, a);
    OK(cuMemFreeAsync(p, a));
    CUdeviceptr q = from(m, 1 << 20, b); /* another stream: not before a has come so far, or other memory */
    launch_fill(q, 2, 1 << 18, b);
    OK(cuStreamSynchronize(b));
    OK(cuStreamSynchronize(a));
    CHECK(read_word(q) == 2);
}
BEHAVIOUR(same_stream_reuses_at_once, POOLS) { struct gate g; begin(); CUmemoryPool m = pool(); threshold(m, ~0ull); CUstream s = stream(); CUdeviceptr p = from(m, 1 << 20, s); gate_close(&g, s); OK(cuMemFreeAsync(p, s)); CUdeviceptr q = from(m, 1 << 20, s); gate_open(&g); OK(cuStreamSynchronize(s)); CHECK(p == q); }
BEHAVIOUR(release_threshold_is_zero_at_first, POOLS) { begin(); CHECK(number(pool(), CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == 0); }
BEHAVIOUR(reuse_flags_are_on_at_first, POOLS) { int v = 0; begin(); CUmemoryPool m = pool(); OK(cuMemPoolGetAttribute(m, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, &v)); CHECK(v == 1); OK(cuMemPoolGetAttribute(m, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &v)); CHECK(v == 1); OK(cuMemPoolGetAttribute(m, CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES, &v)); CHECK(v == 1); }
BEHAVIOUR(memory_is_released_at_synchronisation, POOLS) { begin(); CUmemoryPool m = pool(); CUstream s = stream(); CUdeviceptr p = from(m, 64 << 20, s); OK(cuMemFreeAsync(p, s)); OK(cuStreamSynchronize(s)); CHECK(number(m, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0); }
BEHAVIOUR(threshold_keeps_memory, POOLS) { begin(); CUmemoryPool m = pool(); threshold(m, ~0ull); CUstream s = stream(); CUdeviceptr p = from(m, 64 << 20, s); OK(cuMemFreeAsync(p, s)); OK(cuStreamSynchronize(s)); CHECK(number(m, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= 64 << 20); CHECK(number(m, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0); }
BEHAVIOUR(trim_releases_idle_memory, POOLS) { begin(); CUmemoryPool m = pool(); threshold(m, ~0ull); CUstream s = stream(); size_t f = free_memory(); CUdeviceptr p = from(m, 64 << 20, s); OK(cuMemFreeAsync(p, s)); OK(cuStreamSynchronize(s)); OK(cuMemPoolTrimTo(m, 0)); CHECK(number(m, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0); CHECK(free_memory() >= f); }
BEHAVIOUR(trim_never_releases_memory_in_use, POOLS) { begin(); CUmemoryPool m = pool(); CUstream s = stream(); CUdeviceptr p = from(m, 64 << 20, s); OK(cuStreamSynchronize(s)); OK(cuMemPoolTrimTo(m, 0)); CHECK(number(m, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= 64 << 20); launch_fill(p, 1, 4, s); OK(cuStreamSynchronize(s)); }
BEHAVIOUR(used_memory_is_counted, POOLS) { begin(); CUmemoryPool m = pool(); CUstream s = stream(); from(m, 8 << 20, s); CHECK(number(m, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) >= 8 << 20); CHECK(number(m, CU_MEMPOOL_ATTR_USED_MEM_HIGH) >= 8 << 20); }
BEHAVIOUR(high_marks_are_only_reset_to_zero, POOLS) { cuuint64_t one = 1, zero = 0; begin(); CUmemoryPool m = pool(); FAILS(cuMemPoolSetAttribute(m, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, &one)); OK(cuMemPoolSetAttribute(m, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, &zero)); OK(cuMemPoolSetAttribute(m, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &zero)); }
BEHAVIOUR(default_pool_is_current_at_first, POOLS) { CUmemoryPool a, b; begin(); OK(cuDeviceGetDefaultMemPool(&a, 0)); OK(cuDeviceGetMemPool(&b, 0)); CHECK(a && a == b); }
BEHAVIOUR(current_pool_can_be_set, POOLS) { CUmemoryPool b; begin(); CUmemoryPool m = pool(); OK(cuDeviceSetMemPool(0, m)); OK(cuDeviceGetMemPool(&b, 0)); CHECK(b == m); CUstream s = stream(); take(1 << 20, s); CHECK(number(m, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) >= 1 << 20); }
BEHAVIOUR(default_pool_cannot_be_destroyed, POOLS) { CUmemoryPool a; begin(); OK(cuDeviceGetDefaultMemPool(&a, 0)); FAILS(cuMemPoolDestroy(a)); }
BEHAVIOUR(pool_pointer_names_its_pool, UNIFIED) { CUmemoryPool seen = NULL; begin(); CUmemoryPool m = pool(); CUstream s = stream(); CUdeviceptr p = from(m, 4096, s); OK(cuStreamSynchronize(s)); OK(cuPointerGetAttribute(&seen, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, p)); CHECK(seen == m); }
BEHAVIOUR(pool_memory_has_no_legacy_ipc, DOC "group__CUDA__MEM.html") { CUipcMemHandle h; begin(); CUstream s = stream(); CUdeviceptr p = take(4096, s); OK(cuStreamSynchronize(s)); FAILS(cuIpcGetMemHandle(&h, p)); }
BEHAVIOUR(pool_access_of_its_own_device, POOLS) { CUmemAccess_flags f = 0; CUmemLocation here = { .type = CU_MEM_LOCATION_TYPE_DEVICE }; begin(); OK(cuMemPoolGetAccess(&f, pool(), &here)); CHECK(f == CU_MEM_ACCESS_FLAGS_PROT_READWRITE); }
BEHAVIOUR(idle_pool_memory_serves_plain_allocations, SIMULATED) {
    begin();
    only_simulated();
    CUmemoryPool m = pool();
    threshold(m, ~0ull);
    CUstream s = stream();
    size_t n = free_memory() / 10 * 7;
    CUdeviceptr p = from(m, n, s), q;
    OK(cuMemFreeAsync(p, s));
    OK(cuStreamSynchronize(s));
    OK(cuMemAlloc(&q, n));
}
