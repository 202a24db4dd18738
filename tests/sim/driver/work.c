/* work.c: what happens to a work: queued in a stream, made a node of a capture, run, dropped. */
#include "work.h"
#include "capture.h"
#include "event.h"
#include "graph.h"
#include <stdlib.h>
#include <string.h>

struct work work_copy(const struct work *w) {
    struct work c = *w;
    c.staged = NULL;
    if (c.type == CU_GRAPH_NODE_TYPE_KERNEL && c.launch.arguments) atomic_fetch_add(&c.launch.arguments->refs, 1);
    if (c.type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP && c.batch) atomic_fetch_add(&c.batch->refs, 1);
    if (c.type == CU_GRAPH_NODE_TYPE_GRAPH) c.child = graph_clone(c.child);
    return c;
}

void work_drop(struct work *w) {
    if (w->type == CU_GRAPH_NODE_TYPE_KERNEL && w->launch.arguments && atomic_fetch_sub(&w->launch.arguments->refs, 1) == 1)
        free(w->launch.arguments);
    if (w->type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP && w->batch && atomic_fetch_sub(&w->batch->refs, 1) == 1) free(w->batch);
    if (w->type == CU_GRAPH_NODE_TYPE_GRAPH && w->child) graph_free(w->child);
    free(w->staged);
    w->staged = NULL;
    w->type = CU_GRAPH_NODE_TYPE_EMPTY;
}

CUresult work_run(const struct work *w) {
    switch (w->type) {
    case CU_GRAPH_NODE_TYPE_MEMCPY: return copy_run(w);
    case CU_GRAPH_NODE_TYPE_MEMSET: return fill_run(w);
    case CU_GRAPH_NODE_TYPE_KERNEL: return launch_run(w);
    case CU_GRAPH_NODE_TYPE_HOST:
        self.in_callback = true;
        w->host.fn(w->host.userData);
        self.in_callback = false;
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: return work_run_memory_operations(w->context, w->batch);
    default: return CUDA_SUCCESS;
    }
}

static void run_work(struct operation *o) {
    struct work *w = BODY(struct work, o);
    CUresult result = work_run(w);
    if (result != CUDA_SUCCESS) context_fault(o->context, result);
}

static void drop_work(struct operation *o) { work_drop(BODY(struct work, o)); }

CUresult work_submit(CUstream s, struct work *w, int how) {
    _Static_assert(sizeof(struct work) <= sizeof(((struct operation *)0)->body), "an operation holds a work");
    w->context = s->context;
    bool captured;
    CUresult result = capture_work(s, w, &captured);
    if (result != CUDA_SUCCESS || captured) {
        if (result != CUDA_SUCCESS) work_drop(w);
        return result;
    }
    struct operation *o = operation_new(s->context, run_work);
    o->drop = drop_work;
    *BODY(struct work, o) = *w;
    u64 sequence = stream_submit(s, o, how == WORK_SYNC ? SUBMIT_INLINE_IF_IDLE : SUBMIT_PLAIN);
    if (how == WORK_ASYNC) return CUDA_SUCCESS;
    stream_wait(s, sequence);
    return (CUresult)atomic_load(&s->context->error);
}
