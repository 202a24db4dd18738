/* cuda_weights.h: how cuda_driver.c makes a call of class WORK where weights are shared: by the macro that cuda_calls.def names for
 * what the call writes. `stream` is the stream that it gives work to, `call` the real call. */
#ifndef COPPICE_PRELOAD_CUDA_WEIGHTS_H
#define COPPICE_PRELOAD_CUDA_WEIGHTS_H
#include "device/stream.h"
#include "device/weights.h"

/* Work is remembered before it ends: whoever holds submissions relies on that. */
#define AROUND(stream, begins, call) ({ \
        CUresult begun_ = (begins); \
        if (begun_ == CUDA_SUCCESS) begun_ = (call), stream_worked(stream), weights_work_ends(); \
        begun_; })
#define READS(stream, call) AROUND(stream, weights_work_begins(), call)
#define WRITES(stream, call, to, bytes) AROUND(stream, weights_write_begins(to, bytes, true), call)
#define FILLS(stream, call, to, bytes) AROUND(stream, weights_write_begins(to, bytes, false), call)
#define UNKNOWN(stream, call, where) AROUND(stream, (weights_exclude(where), weights_work_begins()), call)
#define PART_OF(from, at) ((__typeof__(from))(uintptr_t)((uintptr_t)(from) + (at)))
#define IN_PARTS(stream, to, from, length, call, anywhere) ({ \
        CUresult done_ = CUDA_SUCCESS; \
        size_t at = 0, all_ = (length), part; \
        do { \
            struct weights_upload upload_; \
            done_ = weights_upload_begins(&upload_, (to) + at, (const void *)PART_OF((uintptr_t)(from), at), all_ - at, anywhere); \
            if (done_ != CUDA_SUCCESS) break; \
            part = upload_.bytes; \
            done_ = (call); \
            stream_worked(stream); \
            weights_upload_ends(&upload_, done_); \
            at += part; \
        } while (done_ == CUDA_SUCCESS && at < all_); \
        done_; })
#define UPLOADS(stream, to, from, bytes, call) IN_PARTS(stream, to, from, bytes, call, false)
#define COPIES(stream, to, from, bytes, call) IN_PARTS(stream, to, from, bytes, call, true)

/* Of several destinations each is looked at; the address that is left over is none. */
static inline CUdeviceptr exclude_many(const CUdeviceptr *to, size_t count) {
    for (size_t i = 0; to && i < count; i++) weights_exclude(to[i]);
    return 0;
}
static inline CUdeviceptr exclude_solids(const CUDA_MEMCPY3D_BATCH_OP *op, size_t count) {
    for (size_t i = 0; op && i < count; i++)
        if (op[i].dst.type == CU_MEMCPY_OPERAND_TYPE_POINTER) weights_exclude(op[i].dst.op.ptr.ptr);
    return 0;
}
static inline CUdeviceptr exclude_operations(const CUstreamBatchMemOpParams *op, unsigned count) {
    for (unsigned i = 0; op && i < count; i++)
        if (op[i].operation == CU_STREAM_MEM_OP_WRITE_VALUE_32 || op[i].operation == CU_STREAM_MEM_OP_WRITE_VALUE_64) weights_exclude(op[i].writeValue.address);
    return 0;
}
static inline CUdeviceptr exclude_node(const CUgraphNodeParams *node) {
    if (!node) return 0;
    switch ((int)node->type) {
    case CU_GRAPH_NODE_TYPE_MEMCPY: return node->memcpy.copyParams.dstDevice;
    case CU_GRAPH_NODE_TYPE_MEMSET: return node->memset.dst;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: return exclude_operations(node->memOp.paramArray, node->memOp.count);
    default: return 0;
    }
}
#define MANY(to, count) exclude_many(to, count)
#define SOLIDS(op, count) exclude_solids(op, count)
#define NODE(node) exclude_node(node)
#define OPERATIONS_OF(node) ((node) ? exclude_operations((node)->paramArray, (node)->count) : 0)
#define OPERATIONS(op, count) exclude_operations(op, count)
#endif
