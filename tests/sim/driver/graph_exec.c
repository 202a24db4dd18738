/* graph_exec.c: instantiated graphs: made, changed, launched. */
#include "graph.h"
#include "capture.h"
#include <stdlib.h>
#include <string.h>

extern void exec_unref(CUgraphExec exec);

static CUresult instantiate(CUgraphExec *out, CUgraph g, unsigned long long flags) {
    if (!out || !is(g, GRAPH) || flags & ~15ull) return CUDA_ERROR_INVALID_VALUE;
    CUcontext c;
    TRY(context_current(&c));
    CUgraph copy = graph_clone(g);
    CUgraphNode *order;
    size_t count;
    CUresult result = graph_order(copy, &order, &count);
    if (result != CUDA_SUCCESS) {
        graph_free(copy);
        return result;
    }
    CUgraphExec e = object_new(GRAPH_EXEC, sizeof *e);
    e->graph = copy, e->flags = flags, e->order = order, e->count = count, e->context = c;
    e->refs = 1;
    *out = e;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphInstantiateWithFlags)(CUgraphExec *out, CUgraph g, unsigned long long flags) { return instantiate(out, g, flags); }

CUresult DRV(cuGraphInstantiate)(CUgraphExec *out, CUgraph g, CUgraphNode *bad, char *log, size_t size) {
    if (bad) *bad = NULL;
    if (log && size) *log = 0;
    return instantiate(out, g, 0);
}

CUresult DRV(cuGraphInstantiate_v2)(CUgraphExec *out, CUgraph g, CUgraphNode *bad, char *log, size_t size) {
    return DRV(cuGraphInstantiate)(out, g, bad, log, size);
}

CUresult DRV(cuGraphInstantiateWithParams)(CUgraphExec *out, CUgraph g, CUDA_GRAPH_INSTANTIATE_PARAMS *p) {
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    p->hErrNode_out = NULL;
    CUresult result = instantiate(out, g, p->flags);
    p->result_out = result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
    return result;
}

CUresult DRV(cuGraphExecDestroy)(CUgraphExec e) {
    if (!is(e, GRAPH_EXEC)) return CUDA_ERROR_INVALID_VALUE;
    exec_unref(e);                       /* launches in flight keep it */
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphExecGetFlags)(CUgraphExec e, cuuint64_t *out) {
    if (!out || !is(e, GRAPH_EXEC)) return CUDA_ERROR_INVALID_VALUE;
    *out = e->flags;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphUpload)(CUgraphExec e, CUstream handle) {
    CUstream s;
    if (!is(e, GRAPH_EXEC)) return CUDA_ERROR_INVALID_VALUE;
    return stream_resolve(handle, &s);
}

CUresult DRV(cuGraphLaunch)(CUgraphExec e, CUstream handle) {
    CUstream s;
    if (!is(e, GRAPH_EXEC)) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    if (captures_any()) {                /* a launch inside a capture becomes a child graph */
        bool captured = s->capture != NULL;
        struct work w = { .type = CU_GRAPH_NODE_TYPE_GRAPH, .context = s->context, .child = captured ? graph_clone(e->graph) : NULL };
        if (w.child) w.child->child = true;
        TRY(capture_work(s, &w, &captured));
        if (captured) return CUDA_SUCCESS;
    }
    return graph_launch(e, s);
}

/* ---- changing an exec. Launches in flight are over before its nodes change. */
static CUgraphNode exec_node(CUgraphExec e, CUgraphNode n) {
    if (!is(e, GRAPH_EXEC) || !is(n, GRAPH_NODE)) return NULL;
    for (CUgraphNode m = e->graph->first; m; m = m->next)
        if (m->origin == n) return m;
    return NULL;
}

static void settle(CUgraphExec e) {
    if (atomic_load(&e->refs) > 1) device_synchronize(NULL);
}

CUresult DRV(cuGraphExecKernelNodeSetParams_v2)(CUgraphExec e, CUgraphNode n, const CUDA_KERNEL_NODE_PARAMS *p) {
    CUgraphNode m = exec_node(e, n);
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    settle(e);
    return DRV(cuGraphKernelNodeSetParams_v2)(m, p);
}

CUresult DRV(cuGraphExecKernelNodeSetParams)(CUgraphExec e, CUgraphNode n, const CUDA_KERNEL_NODE_PARAMS_v1 *p) {
    CUgraphNode m = exec_node(e, n);
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    settle(e);
    return DRV(cuGraphKernelNodeSetParams)(m, p);
}

CUresult DRV(cuGraphExecMemcpyNodeSetParams)(CUgraphExec e, CUgraphNode n, const CUDA_MEMCPY3D *p, CUcontext c) {
    CUgraphNode m = exec_node(e, n);
    (void)c;
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    settle(e);
    return DRV(cuGraphMemcpyNodeSetParams)(m, p);
}

CUresult DRV(cuGraphExecMemsetNodeSetParams)(CUgraphExec e, CUgraphNode n, const CUDA_MEMSET_NODE_PARAMS *p, CUcontext c) {
    CUgraphNode m = exec_node(e, n);
    (void)c;
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    settle(e);
    return DRV(cuGraphMemsetNodeSetParams)(m, p);
}

CUresult DRV(cuGraphExecHostNodeSetParams)(CUgraphExec e, CUgraphNode n, const CUDA_HOST_NODE_PARAMS *p) {
    CUgraphNode m = exec_node(e, n);
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    settle(e);
    return DRV(cuGraphHostNodeSetParams)(m, p);
}

CUresult DRV(cuGraphExecEventRecordNodeSetEvent)(CUgraphExec e, CUgraphNode n, CUevent event) {
    CUgraphNode m = exec_node(e, n);
    return m ? DRV(cuGraphEventRecordNodeSetEvent)(m, event) : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuGraphExecEventWaitNodeSetEvent)(CUgraphExec e, CUgraphNode n, CUevent event) {
    CUgraphNode m = exec_node(e, n);
    return m ? DRV(cuGraphEventWaitNodeSetEvent)(m, event) : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuGraphNodeSetEnabled)(CUgraphExec e, CUgraphNode n, unsigned enabled) {
    CUgraphNode m = exec_node(e, n);
    if (!m || (m->work.type != CU_GRAPH_NODE_TYPE_KERNEL && m->work.type != CU_GRAPH_NODE_TYPE_MEMCPY && m->work.type != CU_GRAPH_NODE_TYPE_MEMSET))
        return CUDA_ERROR_INVALID_VALUE;
    settle(e);
    m->disabled = !enabled;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphNodeGetEnabled)(CUgraphExec e, CUgraphNode n, unsigned *out) {
    CUgraphNode m = exec_node(e, n);
    if (!m || !out) return CUDA_ERROR_INVALID_VALUE;
    *out = !m->disabled;
    return CUDA_SUCCESS;
}

/* ---- whole-graph update: the same shape, node by node in order of creation */
static CUgraphExecUpdateResult compare(CUgraph a, CUgraph b, CUgraphNode *bad) {
    CUgraphNode n = a->first, m = b->first;
    for (; n && m; n = n->next, m = m->next) {
        *bad = m;
        if (n->work.type != m->work.type) return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
        if (n->after_count != m->after_count) return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        for (size_t i = 0; i < n->after_count; i++)
            if (n->after[i]->id != m->after[i]->id) return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        if (n->work.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || n->work.type == CU_GRAPH_NODE_TYPE_MEM_FREE)
            return CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED;
    }
    *bad = NULL;
    return n || m ? CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED : CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

CUresult DRV(cuGraphExecUpdate_v2)(CUgraphExec e, CUgraph g, CUgraphExecUpdateResultInfo *out) {
    if (!is(e, GRAPH_EXEC) || !is(g, GRAPH) || !out) return CUDA_ERROR_INVALID_VALUE;
    CUgraphNode bad;
    CUgraphExecUpdateResult result = compare(e->graph, g, &bad);
    *out = (CUgraphExecUpdateResultInfo){ .result = result, .errorNode = bad };
    if (result != CU_GRAPH_EXEC_UPDATE_SUCCESS) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    settle(e);
    for (CUgraphNode n = e->graph->first, m = g->first; n; n = n->next, m = m->next) {
        struct work w = work_copy(&m->work);
        work_drop(&n->work);
        n->work = w;
        n->origin = m;
    }
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphExecUpdate)(CUgraphExec e, CUgraph g, CUgraphNode *bad, CUgraphExecUpdateResult *out) {
    CUgraphExecUpdateResultInfo info;
    CUresult result = DRV(cuGraphExecUpdate_v2)(e, g, &info);
    if (result == CUDA_ERROR_INVALID_VALUE) return result;
    if (bad) *bad = info.errorNode;
    if (out) *out = info.result;
    return result;
}
