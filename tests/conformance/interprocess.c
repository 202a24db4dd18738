/* interprocess.c: legacy memory handles and interprocess events between two processes; what a fork may do; dead processes. */
#include "conform.h"
#include <signal.h>
#include <sys/wait.h>

static CUdeviceptr alloc(size_t n) { CUdeviceptr p; OK(cuMemAlloc(&p, n)); return p; }
static CUdeviceptr open_received(int s) {
    CUipcMemHandle h;
    CUdeviceptr p;
    begin();
    receive_bytes(s, &h, sizeof h);
    OK(cuIpcOpenMemHandle(&p, h, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    return p;
}
static void send_handle(int s, CUdeviceptr p) { CUipcMemHandle h; OK(cuIpcGetMemHandle(&h, p)); send_bytes(s, &h, sizeof h); }
static void tell(int s) { send_bytes(s, "x", 1); }
static void await(int s) { char c; receive_bytes(s, &c, 1); }

static void peer_reads(int s) { CUdeviceptr p = open_received(s); CHECK(read_word(p) == 0x1357); OK(cuMemsetD32(p + 4, 0x2468, 1)); OK(cuCtxSynchronize()); tell(s); await(s); OK(cuIpcCloseMemHandle(p)); tell(s); }
BEHAVIOUR(memory_is_shared_by_handle, MEM) { int s = peer_start(peer_reads); begin(); CUdeviceptr p = alloc(4096); OK(cuMemsetD32(p, 0x1357, 1)); OK(cuCtxSynchronize()); send_handle(s, p); await(s); CHECK(read_word(p + 4) == 0x2468); tell(s); await(s); peer_finish(); OK(cuMemFree(p)); }
BEHAVIOUR(large_memory_is_shared_by_handle, MEM) { int s = peer_start(peer_reads); begin(); CUdeviceptr p = alloc(64 << 20); OK(cuMemsetD32(p, 0x1357, 1)); OK(cuCtxSynchronize()); send_handle(s, p); await(s); CHECK(read_word(p + 4) == 0x2468); tell(s); await(s); peer_finish(); }
static void peer_reads_base(int s) { CUdeviceptr p = open_received(s); CHECK(read_word(p) == 0x1357); tell(s); }
BEHAVIOUR(interior_pointer_exports_the_whole_allocation, MEM) { int s = peer_start(peer_reads_base); begin(); CUdeviceptr p = alloc(4 << 20); OK(cuMemsetD32(p, 0x1357, 1)); OK(cuCtxSynchronize()); send_handle(s, p + (1 << 20)); await(s); peer_finish(); }
static void peer_opens_twice(int s) {
    CUipcMemHandle h;
    CUdeviceptr p, q;
    begin();
    receive_bytes(s, &h, sizeof h);
    OK(cuIpcOpenMemHandle(&p, h, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    OK(cuIpcOpenMemHandle(&q, h, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    CHECK(p == q);
    OK(cuIpcCloseMemHandle(p));
    CHECK(read_word(p) == 0x1357);
    OK(cuIpcCloseMemHandle(p));
    FAILS(cuIpcCloseMemHandle(p));
    tell(s);
}
BEHAVIOUR(reopening_counts_references, MEM) { int s = peer_start(peer_opens_twice); begin(); CUdeviceptr p = alloc(4096); OK(cuMemsetD32(p, 0x1357, 1)); OK(cuCtxSynchronize()); send_handle(s, p); await(s); peer_finish(); }
BEHAVIOUR(exporter_cannot_open_its_own_handle, MEM) { CUipcMemHandle h; CUdeviceptr q; begin(); OK(cuIpcGetMemHandle(&h, alloc(4096))); WANT(cuIpcOpenMemHandle(&q, h, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS), CUDA_ERROR_INVALID_CONTEXT); }
static void peer_bad_flags(int s) { CUipcMemHandle h; CUdeviceptr p; begin(); receive_bytes(s, &h, sizeof h); WANT(cuIpcOpenMemHandle(&p, h, 0), CUDA_ERROR_INVALID_VALUE); tell(s); }
BEHAVIOUR(open_flags_must_be_lazy_peer_access, MEM) { int s = peer_start(peer_bad_flags); begin(); send_handle(s, alloc(4096)); await(s); peer_finish(); }
BEHAVIOUR(handle_of_a_mapping_is_refused, MEM) {
    CUipcMemHandle h;
    CUmemGenericAllocationHandle m;
    CUdeviceptr p;
    CUmemAllocationProp prop = pinned_on_device();
    CUmemAccessDesc a = read_write();
    begin();
    size_t g = granularity();
    OK(cuMemAddressReserve(&p, g, 0, 0, 0));
    OK(cuMemCreate(&m, g, &prop, 0));
    OK(cuMemMap(p, g, 0, m, 0));
    OK(cuMemSetAccess(p, g, &a, 1));
    FAILS(cuIpcGetMemHandle(&h, p));
}
BEHAVIOUR(handle_of_unknown_memory_is_refused, MEM) { CUipcMemHandle h; begin(); FAILS(cuIpcGetMemHandle(&h, 0x1234500)); }
BEHAVIOUR(handles_of_two_allocations_differ, MEM) { CUipcMemHandle a, b; begin(); OK(cuIpcGetMemHandle(&a, alloc(4 << 20))); OK(cuIpcGetMemHandle(&b, alloc(4 << 20))); CHECK(memcmp(&a, &b, sizeof a) != 0); }
BEHAVIOUR(handle_of_a_new_allocation_is_new, MEM) { CUipcMemHandle a, b; begin(); CUdeviceptr p = alloc(4 << 20); OK(cuIpcGetMemHandle(&a, p)); OK(cuMemFree(p)); OK(cuIpcGetMemHandle(&b, alloc(4 << 20))); CHECK(memcmp(&a, &b, sizeof a) != 0); }
BEHAVIOUR(opened_memory_is_not_freed_by_mem_free, MEM) {
    extern void peer_frees(int s);
    int s = peer_start(peer_frees);
    begin();
    send_handle(s, alloc(4096));
    await(s);
    peer_finish();
}
void peer_frees(int s) { CUdeviceptr p = open_received(s); FAILS(cuMemFree(p)); tell(s); }

/* What another process has open is not handed out again. */
static void peer_holds(int s) { CUdeviceptr p = open_received(s); tell(s); await(s); CHECK(read_word(p) == 0x1357); OK(cuIpcCloseMemHandle(p)); tell(s); await(s); }
BEHAVIOUR(opened_memory_is_not_handed_out_again, SIMULATED) {
    int s = peer_start(peer_holds);
    begin();
    only_simulated();
    CUdeviceptr p = alloc(4 << 20), q[8];
    OK(cuMemsetD32(p, 0x1357, 1));
    OK(cuCtxSynchronize());
    send_handle(s, p);
    await(s);
    OK(cuMemFree(p));
    for (int i = 0; i < 8; i++) {
        q[i] = alloc(4 << 20);
        OK(cuMemsetD32(q[i], 0xbad, 16));
    }
    OK(cuCtxSynchronize());
    tell(s);
    await(s);
    tell(s);
    peer_finish();
}

/* ---- events */
static void peer_waits_for_event(int s) {
    CUipcEventHandle h;
    CUevent e;
    CUstream st;
    begin();
    receive_bytes(s, &h, sizeof h);
    OK(cuIpcOpenEventHandle(&e, h));
    WANT(cuEventQuery(e), CUDA_ERROR_NOT_READY);
    OK(cuStreamCreate(&st, CU_STREAM_NON_BLOCKING));
    OK(cuStreamWaitEvent(st, e, 0));
    WANT(cuStreamQuery(st), CUDA_ERROR_NOT_READY);
    tell(s);
    OK(cuStreamSynchronize(st));
    OK(cuEventQuery(e));
    tell(s);
}
BEHAVIOUR(events_cross_processes, EVENT) {
    CUevent e;
    CUipcEventHandle h;
    CUstream st;
    struct gate g;
    int s = peer_start(peer_waits_for_event);
    begin();
    OK(cuEventCreate(&e, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING));
    OK(cuStreamCreate(&st, CU_STREAM_NON_BLOCKING));
    gate_close(&g, st);
    OK(cuEventRecord(e, st));
    OK(cuIpcGetEventHandle(&h, e));
    send_bytes(s, &h, sizeof h);
    await(s);
    gate_open(&g);
    await(s);
    peer_finish();
}
BEHAVIOUR(plain_event_has_no_handle, MEM) { CUevent e; CUipcEventHandle h; begin(); OK(cuEventCreate(&e, 0)); FAILS(cuIpcGetEventHandle(&h, e)); }

/* ---- fork */
static int in_child(int (*f)(void)) {
    pid_t p = fork();
    if (p == 0) _exit(f());
    int status;
    CHECK(waitpid(p, &status, 0) == p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}
static int child_allocates(void) { CUdeviceptr p; return cuMemAlloc(&p, 4096) == CUDA_SUCCESS ? 1 : 0; }
BEHAVIOUR(forked_child_cannot_use_the_parents_context, GUIDE "#cuda-environment-variables") { begin(); CHECK(in_child(child_allocates) == 0); }
static int child_initialises(void) { return cuInit(0) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1; }
BEHAVIOUR(forked_child_cannot_initialise, INIT) { begin(); CHECK(in_child(child_initialises) == 0); }
static CUdeviceptr kept;
static int child_frees(void) { cuMemFree(kept); return 0; }
BEHAVIOUR(forked_child_leaves_the_parents_memory_alone, INIT) { begin(); kept = alloc(64 << 20); size_t f = free_memory(); CHECK(in_child(child_frees) == 0); CHECK(free_memory() == f); OK(cuMemsetD32(kept, 1, 4)); CHECK(read_word(kept) == 1); OK(cuMemFree(kept)); }
static void peer_before_init(int s) { begin(); CUdeviceptr p = alloc(4096); OK(cuMemsetD32(p, 1, 4)); CHECK(read_word(p) == 1); tell(s); }
BEHAVIOUR(child_forked_before_init_is_free, INIT) { int s = peer_start(peer_before_init); await(s); begin(); peer_finish(); }

/* ---- dying */
static void peer_dies(int s) { begin(); alloc(512 << 20); tell(s); raise(SIGKILL); }
BEHAVIOUR(a_killed_process_gives_its_memory_back, GUIDE) {
    int status, s = peer_start(peer_dies);
    await(s);
    CHECK(wait(&status) > 0);
    begin();
    size_t f, t;
    OK(cuMemGetInfo(&f, &t));
    if (simulated()) CHECK(f == t);
    CUdeviceptr p;
    OK(cuMemAlloc(&p, f / 10 * 9));
}
static void peer_takes_half(int s) { size_t f, t; begin(); OK(cuMemGetInfo(&f, &t)); alloc(f / 2); tell(s); await(s); }
BEHAVIOUR(processes_share_the_capacity, MEM) { CUdeviceptr p; size_t f, t; int s = peer_start(peer_takes_half); await(s); begin(); OK(cuMemGetInfo(&f, &t)); CHECK(f < t / 10 * 6); WANT(cuMemAlloc(&p, t / 10 * 7), CUDA_ERROR_OUT_OF_MEMORY); tell(s); peer_finish(); OK(cuMemAlloc(&p, t / 10 * 7)); }

/* ---- pools */
static CUmemoryPool shareable_pool(void) {
    CUmemoryPool m;
    CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR };
    props.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    OK(cuMemPoolCreate(&m, &props));
    return m;
}
static void peer_imports_pool(int s) {
    CUmemoryPool m;
    CUmemPoolPtrExportData data;
    CUdeviceptr p, q;
    CUstream st;
    begin();
    int fd = receive_descriptor(s);
    OK(cuMemPoolImportFromShareableHandle(&m, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    close(fd);
    receive_bytes(s, &data, sizeof data);
    OK(cuMemPoolImportPointer(&p, m, &data));
    CHECK(read_word(p) == 0x4321);
    OK(cuMemsetD32(p + 4, 0x8765, 1));
    OK(cuStreamCreate(&st, CU_STREAM_NON_BLOCKING));
    OK(cuCtxSynchronize());
    FAILS(cuMemAllocFromPoolAsync(&q, 64, m, st));
    OK(cuMemFreeAsync(p, st));
    OK(cuStreamSynchronize(st));
    tell(s);
}
BEHAVIOUR(pool_memory_is_shared, POOLS) {
    CUmemPoolPtrExportData data;
    CUdeviceptr p;
    CUstream st;
    int fd, s = peer_start(peer_imports_pool);
    begin();
    CUmemoryPool m = shareable_pool();
    OK(cuStreamCreate(&st, CU_STREAM_NON_BLOCKING));
    OK(cuMemAllocFromPoolAsync(&p, 1 << 20, m, st));
    OK(cuMemsetD32Async(p, 0x4321, 1, st));
    OK(cuStreamSynchronize(st));
    OK(cuMemPoolExportToShareableHandle(&fd, m, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    send_descriptor(s, fd);
    OK(cuMemPoolExportPointer(&data, p));
    send_bytes(s, &data, sizeof data);
    await(s);
    CHECK(read_word(p + 4) == 0x8765);
    OK(cuMemFreeAsync(p, st));
    OK(cuStreamSynchronize(st));
    peer_finish();
}
BEHAVIOUR(plain_pool_is_not_exported, POOLS) { int fd; CUmemoryPool m; begin(); CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED }; props.location.type = CU_MEM_LOCATION_TYPE_DEVICE; OK(cuMemPoolCreate(&m, &props)); FAILS(cuMemPoolExportToShareableHandle(&fd, m, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0)); }
