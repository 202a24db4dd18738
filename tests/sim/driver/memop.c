/* memop.c: stream memory operations: writing a word, waiting for a word. The word may be device memory or page-locked host
 * memory. A wait polls; it ends early when the context breaks, so that nobody hangs on a dead stream. */
#include "memory.h"
#include "work.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *word(CUdeviceptr p, size_t size, bool write) {
    if (in_window(p)) return space_touch(p, size, write);
    return host_find((void *)(uintptr_t)p, NULL) ? (void *)(uintptr_t)p : NULL;
}

static bool satisfied(u64 now, u64 value, unsigned flags, bool wide) {
    switch (flags & 3) {
    case CU_STREAM_WAIT_VALUE_EQ: return now == value;
    case CU_STREAM_WAIT_VALUE_AND: return (now & value) != 0;
    case CU_STREAM_WAIT_VALUE_NOR: return wide ? ~(now | value) != 0 : (uint32_t)~(now | value) != 0;
    default: return wide ? (int64_t)(now - value) >= 0 : (int32_t)((uint32_t)now - (uint32_t)value) >= 0;
    }
}

static CUresult wait_word(CUcontext c, CUdeviceptr p, u64 value, unsigned flags, bool wide) {
    for (;;) {
        void *at = word(p, wide ? 8 : 4, false);
        if (!at) return CUDA_ERROR_ILLEGAL_ADDRESS;
        u64 now = wide ? __atomic_load_n((uint64_t *)at, __ATOMIC_ACQUIRE) : __atomic_load_n((uint32_t *)at, __ATOMIC_ACQUIRE);
        if (satisfied(now, value, flags, wide) || atomic_load(&c->error)) return CUDA_SUCCESS;
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
    }
}

static CUresult write_word(CUdeviceptr p, u64 value, bool wide) {
    void *at = word(p, wide ? 8 : 4, true);
    if (!at) return CUDA_ERROR_ILLEGAL_ADDRESS;
    if (wide) __atomic_store_n((uint64_t *)at, value, __ATOMIC_RELEASE);
    else __atomic_store_n((uint32_t *)at, (uint32_t)value, __ATOMIC_RELEASE);
    return CUDA_SUCCESS;
}

CUresult work_run_memory_operations(CUcontext c, const struct batch *b) {
    for (unsigned i = 0; i < b->count; i++) {
        const CUstreamBatchMemOpParams *p = &b->op[i];
        switch (p->operation) {
        case CU_STREAM_MEM_OP_WAIT_VALUE_32: TRY(wait_word(c, p->waitValue.address, p->waitValue.value, p->waitValue.flags, false)); break;
        case CU_STREAM_MEM_OP_WAIT_VALUE_64: TRY(wait_word(c, p->waitValue.address, p->waitValue.value64, p->waitValue.flags, true)); break;
        case CU_STREAM_MEM_OP_WRITE_VALUE_32: TRY(write_word(p->writeValue.address, p->writeValue.value, false)); break;
        case CU_STREAM_MEM_OP_WRITE_VALUE_64: TRY(write_word(p->writeValue.address, p->writeValue.value64, true)); break;
        default: break;                  /* barriers and flushes: everything is visible already */
        }
    }
    return CUDA_SUCCESS;
}

static bool operation_valid(const CUstreamBatchMemOpParams *p) {
    bool wide = p->operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 || p->operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
    switch (p->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32: case CU_STREAM_MEM_OP_WAIT_VALUE_64:
    case CU_STREAM_MEM_OP_WRITE_VALUE_32: case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        return p->waitValue.address && p->waitValue.address % (wide ? 8 : 4) == 0;
    case CU_STREAM_MEM_OP_BARRIER: case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES: return true;
    default: return false;
    }
}

CUresult DRV(cuStreamBatchMemOp_v2)(CUstream handle, unsigned count, CUstreamBatchMemOpParams *params, unsigned flags) {
    CUstream s;
    if (!params || !count || count > 256 || flags) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    for (unsigned i = 0; i < count; i++)
        if (!operation_valid(&params[i])) return CUDA_ERROR_INVALID_VALUE;
    struct batch *b = malloc(sizeof *b + sizeof *params * count);
    b->refs = 1;
    b->count = count;
    memcpy(b->op, params, sizeof *params * count);
    struct work w = { .type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, .batch = b };
    return work_submit(s, &w, WORK_ASYNC);
}

static CUresult one(CUstream s, CUstreamBatchMemOpParams p) { return DRV(cuStreamBatchMemOp_v2)(s, 1, &p, 0); }

CUresult DRV(cuStreamWriteValue32_v2)(CUstream s, CUdeviceptr at, cuuint32_t value, unsigned flags) {
    return one(s, (CUstreamBatchMemOpParams){ .writeValue = { .operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .address = at, .value = value, .flags = flags } });
}

CUresult DRV(cuStreamWriteValue64_v2)(CUstream s, CUdeviceptr at, cuuint64_t value, unsigned flags) {
    return one(s, (CUstreamBatchMemOpParams){ .writeValue = { .operation = CU_STREAM_MEM_OP_WRITE_VALUE_64, .address = at, .value64 = value, .flags = flags } });
}

CUresult DRV(cuStreamWaitValue32_v2)(CUstream s, CUdeviceptr at, cuuint32_t value, unsigned flags) {
    return one(s, (CUstreamBatchMemOpParams){ .waitValue = { .operation = CU_STREAM_MEM_OP_WAIT_VALUE_32, .address = at, .value = value, .flags = flags } });
}

CUresult DRV(cuStreamWaitValue64_v2)(CUstream s, CUdeviceptr at, cuuint64_t value, unsigned flags) {
    return one(s, (CUstreamBatchMemOpParams){ .waitValue = { .operation = CU_STREAM_MEM_OP_WAIT_VALUE_64, .address = at, .value64 = value, .flags = flags } });
}

/* The first forms of these functions are the same but for their history. */
CUresult DRV(cuStreamWriteValue32)(CUstream s, CUdeviceptr at, cuuint32_t v, unsigned f) { return DRV(cuStreamWriteValue32_v2)(s, at, v, f); }
CUresult DRV(cuStreamWriteValue64)(CUstream s, CUdeviceptr at, cuuint64_t v, unsigned f) { return DRV(cuStreamWriteValue64_v2)(s, at, v, f); }
CUresult DRV(cuStreamWaitValue32)(CUstream s, CUdeviceptr at, cuuint32_t v, unsigned f) { return DRV(cuStreamWaitValue32_v2)(s, at, v, f); }
CUresult DRV(cuStreamWaitValue64)(CUstream s, CUdeviceptr at, cuuint64_t v, unsigned f) { return DRV(cuStreamWaitValue64_v2)(s, at, v, f); }
CUresult DRV(cuStreamBatchMemOp)(CUstream s, unsigned n, CUstreamBatchMemOpParams *p, unsigned f) { return DRV(cuStreamBatchMemOp_v2)(s, n, p, f); }
