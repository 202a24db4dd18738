/* memory.c: device allocation, freeing, information, host memory, pointer attributes. */
#include "conform.h"
#include <sys/mman.h>

static CUdeviceptr alloc(size_t n) {
    CUdeviceptr p;
    OK(cuMemAlloc(&p, n));
    return p;
}

BEHAVIOUR(size_zero_is_invalid, MEM) { CUdeviceptr p; begin(); WANT(cuMemAlloc(&p, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(null_result_is_invalid, MEM) { begin(); WANT(cuMemAlloc(NULL, 4), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(allocations_are_aligned_to_256, MEM) {
    begin();
    for (size_t n = 1; n < 100000; n = n * 3 + 1) CHECK(alloc(n) % 256 == 0);
}
BEHAVIOUR(small_allocations_are_aligned_to_512, "observed on hardware") { begin(); for (int i = 0; i < 20; i++) CHECK(alloc(1 + i) % 512 == 0); }
BEHAVIOUR(allocations_do_not_overlap, MEM) {
    CUdeviceptr p[64];
    begin();
    for (int i = 0; i < 64; i++) p[i] = alloc(1000 + 37 * (size_t)i);
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++) CHECK(i == j || p[i] + 1000 + 37 * (size_t)i <= p[j] || p[j] < p[i]);
}
BEHAVIOUR(too_much_is_out_of_memory, MEM) {
    CUdeviceptr p;
    size_t total;
    begin();
    OK(cuMemGetInfo(NULL, &total));
    WANT(cuMemAlloc(&p, total + (1 << 20)), CUDA_ERROR_OUT_OF_MEMORY);
}
BEHAVIOUR(absurd_size_is_out_of_memory, MEM) { CUdeviceptr p; begin(); WANT_ANY(cuMemAlloc(&p, (size_t)1 << 62), CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(out_of_memory_is_not_sticky, MEM) {
    CUdeviceptr p;
    begin();
    WANT(cuMemAlloc(&p, (size_t)1 << 50), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemFree(alloc(4096)));
}
BEHAVIOUR(all_free_memory_cannot_be_had_twice, MEM) {
    CUdeviceptr p, q;
    begin();
    size_t n = free_memory() / 10 * 6;
    OK(cuMemAlloc(&p, n));
    WANT(cuMemAlloc(&q, n), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemFree(p));
    OK(cuMemAlloc(&q, n));
}
BEHAVIOUR(freeing_null_is_fine, MEM) { begin(); OK(cuMemFree(0)); }
BEHAVIOUR(double_free_is_invalid, MEM) { begin(); CUdeviceptr p = alloc(4096); OK(cuMemFree(p)); WANT(cuMemFree(p), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(double_free_of_a_large_block_is_invalid, MEM) { begin(); CUdeviceptr p = alloc(64 << 20); OK(cuMemFree(p)); WANT(cuMemFree(p), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(unknown_pointer_is_invalid, MEM) { begin(); WANT(cuMemFree(0x1234500), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(interior_pointer_is_invalid, MEM) { begin(); CUdeviceptr p = alloc(1 << 20); WANT(cuMemFree(p + 512), CUDA_ERROR_INVALID_VALUE); OK(cuMemFree(p)); }
BEHAVIOUR(interior_pointer_of_a_large_block_is_invalid, MEM) { begin(); CUdeviceptr p = alloc(64 << 20); WANT(cuMemFree(p + (2 << 20)), CUDA_ERROR_INVALID_VALUE); OK(cuMemFree(p)); }
BEHAVIOUR(host_pointer_is_not_freed_as_device, MEM) { int x; begin(); WANT(cuMemFree((CUdeviceptr)(uintptr_t)&x), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(free_with_another_context_current, UNIFIED) {
    CUcontext c;
    begin();
    CUdeviceptr p = alloc(4096);
    OK(cuCtxCreate(&c, NULL, 0, 0));
    OK(cuMemFree(p));
}
BEHAVIOUR(memory_info_counts_allocations, MEM) {
    begin();
    size_t before = free_memory();
    CUdeviceptr p = alloc(256 << 20);
    CHECK(before - free_memory() >= (256u << 20));
    OK(cuMemFree(p));
    CHECK(free_memory() == before);
}
BEHAVIOUR(memory_info_outputs_may_be_null, MEM) { size_t n; begin(); OK(cuMemGetInfo(&n, NULL)); OK(cuMemGetInfo(NULL, &n)); }
BEHAVIOUR(free_is_at_most_total, MEM) { size_t f, t; begin(); OK(cuMemGetInfo(&f, &t)); CHECK(f <= t && t > 0); }
BEHAVIOUR(pitch_fits_the_width, MEM) { CUdeviceptr p; size_t pitch; begin(); OK(cuMemAllocPitch(&p, &pitch, 1000, 10, 4)); CHECK(pitch >= 1000 && pitch % 16 == 0); OK(cuMemFree(p)); }
BEHAVIOUR(pitch_element_size_is_4_8_or_16, MEM) { CUdeviceptr p; size_t pitch; begin(); WANT(cuMemAllocPitch(&p, &pitch, 1000, 10, 3), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(pitch_zero_is_invalid, MEM) { CUdeviceptr p; size_t pitch; begin(); WANT(cuMemAllocPitch(&p, &pitch, 0, 10, 4), CUDA_ERROR_INVALID_VALUE); }

BEHAVIOUR(address_range_of_an_interior_pointer, MEM) {
    CUdeviceptr base;
    size_t n;
    begin();
    CUdeviceptr p = alloc(10000);
    OK(cuMemGetAddressRange(&base, &n, p + 5000));
    CHECK(base == p && n >= 10000);
}
BEHAVIOUR(address_range_outputs_may_be_null, MEM) { begin(); CUdeviceptr p = alloc(100); OK(cuMemGetAddressRange(NULL, NULL, p)); }
BEHAVIOUR(address_range_of_unknown_is_not_found, MEM) { CUdeviceptr b; size_t n; begin(); WANT_ANY(cuMemGetAddressRange(&b, &n, 0x1234500), CUDA_ERROR_NOT_FOUND, CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(address_range_of_freed_is_not_found, MEM) { CUdeviceptr b; size_t n; begin(); CUdeviceptr p = alloc(64 << 20); OK(cuMemFree(p)); WANT_ANY(cuMemGetAddressRange(&b, &n, p), CUDA_ERROR_NOT_FOUND, CUDA_ERROR_INVALID_VALUE); }

BEHAVIOUR(free_waits_for_work_submitted_before, SYNC) {
    CUstream s;
    begin();
    CUdeviceptr p = alloc(4096);
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    launch_spin(50000000, s);
    launch_fill(p, 1, 1024, s);
    OK(cuMemFree(p));                    /* the fill must not meet freed memory */
    OK(cuCtxSynchronize());
}
BEHAVIOUR(memory_is_not_reused_before_its_work, SYNC) {
    CUstream s;
    begin();
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (int round = 0; round < 8; round++) {
        CUdeviceptr p = alloc(1 << 20), q;
        launch_spin(10000000, s);
        launch_fill(p, 0xaaaaaaaa, 1 << 18, s);
        OK(cuMemFree(p));
        q = alloc(1 << 20);
        unsigned v = 0x11111111;
        OK(cuMemcpyHtoD(q, &v, 4));
        CHECK(read_word(q) == v);
        OK(cuMemFree(q));
    }
}

/* ---- host memory */
BEHAVIOUR(host_memory_is_usable, MEM) { char *p; begin(); OK(cuMemAllocHost((void **)&p, 10000)); memset(p, 1, 10000); OK(cuMemFreeHost(p)); }
BEHAVIOUR(host_memory_device_pointer_is_the_same, UNIFIED) { void *p; CUdeviceptr d; begin(); OK(cuMemHostAlloc(&p, 4096, CU_MEMHOSTALLOC_DEVICEMAP)); OK(cuMemHostGetDevicePointer(&d, p, 0)); CHECK(d == (CUdeviceptr)(uintptr_t)p); }
BEHAVIOUR(host_flags_are_remembered, MEM) { void *p; unsigned f; begin(); OK(cuMemHostAlloc(&p, 4096, CU_MEMHOSTALLOC_PORTABLE)); OK(cuMemHostGetFlags(&f, p)); CHECK(f & CU_MEMHOSTALLOC_PORTABLE); }
BEHAVIOUR(host_flags_of_foreign_memory_fail, MEM) { unsigned f; int x; begin(); FAILS(cuMemHostGetFlags(&f, &x)); }
BEHAVIOUR(host_unknown_flag_is_invalid, MEM) { void *p; begin(); WANT(cuMemHostAlloc(&p, 4096, 0x100), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(host_double_free_is_invalid, MEM) { void *p; begin(); OK(cuMemAllocHost(&p, 4096)); OK(cuMemFreeHost(p)); WANT(cuMemFreeHost(p), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(host_free_of_malloc_memory_is_invalid, MEM) { void *p = malloc(100); begin(); WANT(cuMemFreeHost(p), CUDA_ERROR_INVALID_VALUE); }
static void *pages(size_t n) { return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
BEHAVIOUR(register_and_unregister, MEM) { void *p = pages(65536); begin(); OK(cuMemHostRegister(p, 65536, 0)); OK(cuMemHostUnregister(p)); }
BEHAVIOUR(register_twice_is_refused, MEM) { void *p = pages(65536); begin(); OK(cuMemHostRegister(p, 65536, 0)); WANT(cuMemHostRegister(p, 65536, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED); }
BEHAVIOUR(unregister_of_unregistered_is_refused, MEM) { void *p = pages(65536); begin(); WANT_ANY(cuMemHostUnregister(p), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(registered_memory_has_a_device_pointer, MEM) { void *p = pages(65536); CUdeviceptr d; begin(); OK(cuMemHostRegister(p, 65536, CU_MEMHOSTREGISTER_DEVICEMAP)); OK(cuMemHostGetDevicePointer(&d, p, 0)); CHECK(d != 0); }
BEHAVIOUR(managed_memory_is_host_accessible, MEM) { CUdeviceptr p; begin(); OK(cuMemAllocManaged(&p, 4096, CU_MEM_ATTACH_GLOBAL)); *(volatile int *)(uintptr_t)p = 5; CHECK(*(volatile int *)(uintptr_t)p == 5); OK(cuMemFree(p)); }
BEHAVIOUR(managed_memory_flags_are_checked, MEM) { CUdeviceptr p; begin(); WANT(cuMemAllocManaged(&p, 4096, 0), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(managed_size_zero_is_invalid, MEM) { CUdeviceptr p; begin(); WANT(cuMemAllocManaged(&p, 0, CU_MEM_ATTACH_GLOBAL), CUDA_ERROR_INVALID_VALUE); }

/* ---- pointer attributes */
BEHAVIOUR(pointer_type_device, UNIFIED) { unsigned t = 0; begin(); CUdeviceptr p = alloc(100); OK(cuPointerGetAttribute(&t, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p)); CHECK(t == CU_MEMORYTYPE_DEVICE); }
BEHAVIOUR(pointer_type_host, UNIFIED) { unsigned t = 0; void *p; begin(); OK(cuMemAllocHost(&p, 100)); OK(cuPointerGetAttribute(&t, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)p)); CHECK(t == CU_MEMORYTYPE_HOST); }
BEHAVIOUR(pointer_context, UNIFIED) { CUcontext c = begin(), d; CUdeviceptr p = alloc(100); OK(cuPointerGetAttribute(&d, CU_POINTER_ATTRIBUTE_CONTEXT, p)); CHECK(c == d); }
BEHAVIOUR(pointer_single_query_of_unknown_fails, UNIFIED) { unsigned t; int x; begin(); WANT(cuPointerGetAttribute(&t, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)&x), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(pointer_plural_query_of_unknown_gives_defaults, UNIFIED) {
    unsigned type = 9;
    CUcontext c = (CUcontext)9;
    int x;
    begin();
    CUpointer_attribute what[] = { CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_CONTEXT };
    void *where[] = { &type, &c };
    OK(cuPointerGetAttributes(2, what, where, (CUdeviceptr)(uintptr_t)&x));
    CHECK(type == 0 && c == NULL);
}
BEHAVIOUR(pointer_range, UNIFIED) {
    CUdeviceptr start;
    size_t size;
    begin();
    CUdeviceptr p = alloc(10000);
    OK(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 77));
    OK(cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, p + 77));
    CHECK(start == p && size >= 10000);
}
BEHAVIOUR(pointer_managed, UNIFIED) { unsigned m = 9; CUdeviceptr p; begin(); OK(cuMemAllocManaged(&p, 100, CU_MEM_ATTACH_GLOBAL)); OK(cuPointerGetAttribute(&m, CU_POINTER_ATTRIBUTE_IS_MANAGED, p)); CHECK(m); }
BEHAVIOUR(pointer_device_ordinal, UNIFIED) { int d = 9; begin(); CUdeviceptr p = alloc(100); OK(cuPointerGetAttribute(&d, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, p)); CHECK(d == 0); }
BEHAVIOUR(pointer_sync_memops_can_be_set, UNIFIED) { unsigned on = 1, seen = 0; begin(); CUdeviceptr p = alloc(100); OK(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p)); OK(cuPointerGetAttribute(&seen, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p)); CHECK(seen == 1); }
BEHAVIOUR(buffer_ids_are_never_reused, UNIFIED) {
    unsigned long long seen[32];
    begin();
    for (int i = 0; i < 32; i++) {
        CUdeviceptr p = alloc(64 << 20);
        OK(cuPointerGetAttribute(&seen[i], CU_POINTER_ATTRIBUTE_BUFFER_ID, p));
        for (int j = 0; j < i; j++) CHECK(seen[j] != seen[i]);
        OK(cuMemFree(p));
    }
}
