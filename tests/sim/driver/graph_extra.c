/* graph_extra.c: what graphs carry besides their nodes' work: user objects, attributes of kernel nodes, batches of memory
 * operations, the generic forms of "set parameters", and a drawing.
 * A *user object* is the program's own reference-counted thing; its destructor runs, on no particular thread, when the last
 * reference is gone: the program's, or that of a graph (a graph's references are copied with it). */
#define _GNU_SOURCE
#include "graph.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CUuserObject_st { struct object object; _Atomic long refs; CUhostFn destroy; void *data; };
struct held { struct held *next; CUuserObject user; unsigned count; };

static void user_release(CUuserObject u, unsigned count) {
    if (atomic_fetch_sub(&u->refs, (long)count) != (long)count) return;
    u->destroy(u->data);
    object_free(u);
}

static void hold(CUgraph g, CUuserObject u, unsigned count) {
    struct held *h = g->held;
    while (h && h->user != u) h = h->next;
    if (!h) {
        h = calloc(1, sizeof *h);
        h->next = g->held;
        h->user = u;
        g->held = h;
    }
    h->count += count;
}

void graph_hold_copy(CUgraph to, const struct CUgraph_st *from) {
    for (struct held *h = from->held; h; h = h->next) {
        atomic_fetch_add(&h->user->refs, (long)h->count);
        hold(to, h->user, h->count);
    }
}

void graph_hold_drop(CUgraph g) {
    while (g->held) {
        struct held *h = g->held;
        g->held = h->next;
        user_release(h->user, h->count);
        free(h);
    }
}

CUresult DRV(cuUserObjectCreate)(CUuserObject *out, void *data, CUhostFn destroy, unsigned count, unsigned flags) {
    if (!out || !destroy || !count || count > 0x7fffffff || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) return CUDA_ERROR_INVALID_VALUE;
    CUuserObject u = object_new(USER_OBJECT, sizeof *u);
    u->refs = count;
    u->destroy = destroy;
    u->data = data;
    *out = u;
    return CUDA_SUCCESS;
}

CUresult DRV(cuUserObjectRetain)(CUuserObject u, unsigned count) {
    if (!is(u, USER_OBJECT) || !count || count > 0x7fffffff) return CUDA_ERROR_INVALID_VALUE;
    atomic_fetch_add(&u->refs, (long)count);
    return CUDA_SUCCESS;
}

CUresult DRV(cuUserObjectRelease)(CUuserObject u, unsigned count) {
    if (!is(u, USER_OBJECT) || !count || (long)count > atomic_load(&u->refs)) return CUDA_ERROR_INVALID_VALUE;
    user_release(u, count);
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphRetainUserObject)(CUgraph g, CUuserObject u, unsigned count, unsigned flags) {
    if (!is(g, GRAPH) || !is(u, USER_OBJECT) || !count || flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE) return CUDA_ERROR_INVALID_VALUE;
    if (!(flags & CU_GRAPH_USER_OBJECT_MOVE)) atomic_fetch_add(&u->refs, (long)count);
    hold(g, u, count);
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphReleaseUserObject)(CUgraph g, CUuserObject u, unsigned count) {
    if (!is(g, GRAPH) || !is(u, USER_OBJECT) || !count) return CUDA_ERROR_INVALID_VALUE;
    for (struct held **p = &g->held; *p; p = &(*p)->next) {
        struct held *h = *p;
        if (h->user != u || h->count < count) continue;
        h->count -= count;
        if (!h->count) {
            *p = h->next;
            free(h);
        }
        user_release(u, count);
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

/* ---- attributes of kernel nodes: accepted, without effect */
static bool kernel_node(CUgraphNode n) { return is(n, GRAPH_NODE) && n->work.type == CU_GRAPH_NODE_TYPE_KERNEL; }

CUresult DRV(cuGraphKernelNodeCopyAttributes)(CUgraphNode to, CUgraphNode from) {
    return kernel_node(to) && kernel_node(from) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuGraphKernelNodeGetAttribute)(CUgraphNode n, CUkernelNodeAttrID attribute, CUkernelNodeAttrValue *out) {
    if (!kernel_node(n) || !out) return CUDA_ERROR_INVALID_VALUE;
    memset(out, 0, sizeof *out);
    if (attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) out->cooperative = n->work.launch.cooperative;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphKernelNodeSetAttribute)(CUgraphNode n, CUkernelNodeAttrID attribute, const CUkernelNodeAttrValue *value) {
    if (!kernel_node(n) || !value) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) n->work.launch.cooperative = value->cooperative != 0;
    return CUDA_SUCCESS;
}

/* ---- batches of memory operations */
static struct batch *batch_make(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p) {
    struct batch *b = malloc(sizeof *b + sizeof *p->paramArray * p->count);
    b->refs = 1;
    b->count = p->count;
    memcpy(b->op, p->paramArray, sizeof *p->paramArray * p->count);
    return b;
}

static bool batch_valid(const CUDA_BATCH_MEM_OP_NODE_PARAMS *p) { return p && p->paramArray && p->count && p->count <= 256 && !p->flags; }

CUresult DRV(cuGraphAddBatchMemOpNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p) {
    if (!batch_valid(p) || !out || !is(g, GRAPH) || (count && !after)) return CUDA_ERROR_INVALID_VALUE;
    CUcontext c = p->ctx;
    if (!c) TRY(context_current(&c));
    TRY(context_usable(c));
    struct work w = { .type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, .context = c, .batch = batch_make(p) };
    *out = graph_add(g, after, count, &w);
    return CUDA_SUCCESS;
}

static bool batch_node(CUgraphNode n) { return is(n, GRAPH_NODE) && n->work.type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP; }

CUresult DRV(cuGraphBatchMemOpNodeGetParams)(CUgraphNode n, CUDA_BATCH_MEM_OP_NODE_PARAMS *out) {
    if (!batch_node(n) || !out) return CUDA_ERROR_INVALID_VALUE;
    *out = (CUDA_BATCH_MEM_OP_NODE_PARAMS){ .ctx = n->work.context, .count = n->work.batch->count, .paramArray = n->work.batch->op };
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphBatchMemOpNodeSetParams)(CUgraphNode n, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p) {
    if (!batch_node(n) || !batch_valid(p)) return CUDA_ERROR_INVALID_VALUE;
    struct work w = n->work;
    w.batch = batch_make(p);
    work_drop(&n->work);
    n->work = w;
    return CUDA_SUCCESS;
}

static CUgraphNode exec_node(CUgraphExec e, CUgraphNode n) {
    CUgraphNode m = is(e, GRAPH_EXEC) && is(n, GRAPH_NODE) ? e->graph->first : NULL;
    while (m && m->origin != n) m = m->next;
    if (m && atomic_load(&e->refs) > 1) device_synchronize(NULL);
    return m;
}

CUresult DRV(cuGraphExecBatchMemOpNodeSetParams)(CUgraphExec e, CUgraphNode n, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p) {
    CUgraphNode m = exec_node(e, n);
    return m ? DRV(cuGraphBatchMemOpNodeSetParams)(m, p) : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuGraphExecChildGraphNodeSetParams)(CUgraphExec e, CUgraphNode n, CUgraph child) {
    CUgraphNode m = exec_node(e, n);
    if (!m || m->work.type != CU_GRAPH_NODE_TYPE_GRAPH || !is(child, GRAPH) || child->count != m->work.child->count) return CUDA_ERROR_INVALID_VALUE;
    CUgraph old = m->work.child;
    m->work.child = graph_clone(child);
    m->work.child->child = true;
    graph_free(old);
    return CUDA_SUCCESS;
}

/* ---- the generic forms */
CUresult DRV(cuGraphNodeSetParams)(CUgraphNode n, CUgraphNodeParams *p) {
    if (!is(n, GRAPH_NODE) || !p || p->type != n->work.type) return CUDA_ERROR_INVALID_VALUE;
    switch (p->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
        CUDA_KERNEL_NODE_PARAMS k = graph_kernel_params(p);
        return DRV(cuGraphKernelNodeSetParams_v2)(n, &k);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY: return DRV(cuGraphMemcpyNodeSetParams)(n, &p->memcpy.copyParams);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
        CUDA_MEMSET_NODE_PARAMS f = graph_memset_params(p);
        return DRV(cuGraphMemsetNodeSetParams)(n, &f);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
        CUDA_HOST_NODE_PARAMS h = { p->host.fn, p->host.userData };
        return DRV(cuGraphHostNodeSetParams)(n, &h);
    }
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return DRV(cuGraphEventRecordNodeSetEvent)(n, p->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT: return DRV(cuGraphEventWaitNodeSetEvent)(n, p->eventWait.event);
    default: return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult DRV(cuGraphExecNodeSetParams)(CUgraphExec e, CUgraphNode n, CUgraphNodeParams *p) {
    CUgraphNode m = exec_node(e, n);
    return m ? DRV(cuGraphNodeSetParams)(m, p) : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuGraphDebugDotPrint)(CUgraph g, const char *path, unsigned flags) {
    (void)flags;
    FILE *f = is(g, GRAPH) && path ? fopen(path, "w") : NULL;
    if (!f) return CUDA_ERROR_INVALID_VALUE;
    fprintf(f, "digraph simulated {\n");
    for (CUgraphNode n = g->first; n; n = n->next) {
        fprintf(f, "  n%d [label=\"type %d\"];\n", n->id, (int)n->work.type);
        for (size_t i = 0; i < n->after_count; i++) fprintf(f, "  n%d -> n%d;\n", n->after[i]->id, n->id);
    }
    fprintf(f, "}\n");
    return fclose(f) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}
