/* graph_api.c: the functions that make graphs and look at them. */
#include "graph.h"
#include "control.h"
#include "module.h"
#include <stdlib.h>
#include <string.h>

CUresult DRV(cuGraphCreate)(CUgraph *out, unsigned flags) {
    if (!out || flags) return CUDA_ERROR_INVALID_VALUE;
    *out = graph_new();
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphDestroy)(CUgraph g) {
    if (!is(g, GRAPH) || g->child) return CUDA_ERROR_INVALID_VALUE;
    graph_free(g);
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphClone)(CUgraph *out, CUgraph g) {
    if (!out || !is(g, GRAPH)) return CUDA_ERROR_INVALID_VALUE;
    *out = graph_clone(g);
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphNodeFindInClone)(CUgraphNode *out, CUgraphNode original, CUgraph clone) {
    if (!out || !is(original, GRAPH_NODE) || !is(clone, GRAPH)) return CUDA_ERROR_INVALID_VALUE;
    for (CUgraphNode n = clone->first; n; n = n->next)
        if (n->origin == original) {
            *out = n;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_VALUE;
}

/* ---- adding nodes */
static CUresult add(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, struct work *w) {
    bool good = out && is(g, GRAPH) && (count == 0 || after);
    for (size_t i = 0; good && i < count; i++) good = is(after[i], GRAPH_NODE) && after[i]->graph == g;
    if (!good) {
        work_drop(w);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!w->context && self.depth) w->context = self.stack[self.depth - 1];
    *out = graph_add(g, after, count, w);
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphAddEmptyNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count) {
    struct work w = { .type = CU_GRAPH_NODE_TYPE_EMPTY };
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddKernelNode_v2)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, const CUDA_KERNEL_NODE_PARAMS *p) {
    struct work w = { .type = CU_GRAPH_NODE_TYPE_KERNEL };
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    TRY(launch_make(p, &w.launch));
    return add(out, g, after, count, &w);
}

static CUDA_KERNEL_NODE_PARAMS second_form(const CUDA_KERNEL_NODE_PARAMS_v1 *p) {
    return (CUDA_KERNEL_NODE_PARAMS){ .func = p->func, .gridDimX = p->gridDimX, .gridDimY = p->gridDimY, .gridDimZ = p->gridDimZ,
        .blockDimX = p->blockDimX, .blockDimY = p->blockDimY, .blockDimZ = p->blockDimZ, .sharedMemBytes = p->sharedMemBytes,
        .kernelParams = p->kernelParams, .extra = p->extra };
}

CUresult DRV(cuGraphAddKernelNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, const CUDA_KERNEL_NODE_PARAMS_v1 *p) {
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    CUDA_KERNEL_NODE_PARAMS two = second_form(p);
    return DRV(cuGraphAddKernelNode_v2)(out, g, after, count, &two);
}

CUresult DRV(cuGraphAddMemcpyNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, const CUDA_MEMCPY3D *p, CUcontext c) {
    if (!p || !copy_valid(p)) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_usable(c));
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEMCPY, .context = c, .copy = *p };
    return add(out, g, after, count, &w);
}

static bool fill_valid(const CUDA_MEMSET_NODE_PARAMS *p) {
    return p && p->dst && p->width && p->height && (p->elementSize == 1 || p->elementSize == 2 || p->elementSize == 4);
}

CUresult DRV(cuGraphAddMemsetNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, const CUDA_MEMSET_NODE_PARAMS *p, CUcontext c) {
    if (!fill_valid(p)) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_usable(c));
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEMSET, .context = c, .fill = *p };
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddHostNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, const CUDA_HOST_NODE_PARAMS *p) {
    if (!p || !p->fn) return CUDA_ERROR_INVALID_VALUE;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_HOST, .host = *p };
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddChildGraphNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, CUgraph child) {
    if (!is(child, GRAPH) || child == g) return CUDA_ERROR_INVALID_VALUE;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_GRAPH, .child = graph_clone(child) };
    w.child->child = true;
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddEventRecordNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, CUevent e) {
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .event = e };
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddEventWaitNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, CUevent e) {
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .event = e };
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddMemAllocNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, CUDA_MEM_ALLOC_NODE_PARAMS *p) {
    CUcontext c;
    if (!p || !p->bytesize || !is(g, GRAPH) || !out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    struct device *d = device_get(p->poolProps.location.id);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC, .context = c, .memory = graph_memory_new(c, d, p->bytesize) };
    if (!w.memory) return CUDA_ERROR_OUT_OF_MEMORY;
    p->dptr = w.memory->pointer;
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddMemFreeNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, CUdeviceptr pointer) {
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEM_FREE, .memory = graph_memory_at(pointer) };
    if (!w.memory) return CUDA_ERROR_INVALID_VALUE;
    return add(out, g, after, count, &w);
}

CUresult DRV(cuGraphAddNode_v2)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *p) {
    (void)edges;
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    switch (p->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
        CUDA_KERNEL_NODE_PARAMS k = graph_kernel_params(p);
        return DRV(cuGraphAddKernelNode_v2)(out, g, after, count, &k);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY: return DRV(cuGraphAddMemcpyNode)(out, g, after, count, &p->memcpy.copyParams, p->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
        CUDA_MEMSET_NODE_PARAMS f = graph_memset_params(p);
        return DRV(cuGraphAddMemsetNode)(out, g, after, count, &f, p->memset.ctx);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
        CUDA_HOST_NODE_PARAMS h = { p->host.fn, p->host.userData };
        return DRV(cuGraphAddHostNode)(out, g, after, count, &h);
    }
    case CU_GRAPH_NODE_TYPE_EMPTY: return DRV(cuGraphAddEmptyNode)(out, g, after, count);
    case CU_GRAPH_NODE_TYPE_GRAPH: return DRV(cuGraphAddChildGraphNode)(out, g, after, count, p->graph.graph);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return DRV(cuGraphAddEventRecordNode)(out, g, after, count, p->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT: return DRV(cuGraphAddEventWaitNode)(out, g, after, count, p->eventWait.event);
    case CU_GRAPH_NODE_TYPE_MEM_FREE: return DRV(cuGraphAddMemFreeNode)(out, g, after, count, p->free.dptr);
    default: return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult DRV(cuGraphAddNode)(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t count, CUgraphNodeParams *p) {
    return DRV(cuGraphAddNode_v2)(out, g, after, NULL, count, p);
}

/* ---- looking */
static CUgraphNode node_of(CUgraphNode n, CUgraphNodeType type) { return is(n, GRAPH_NODE) && n->work.type == type ? n : NULL; }

CUresult DRV(cuGraphNodeGetType)(CUgraphNode n, CUgraphNodeType *out) {
    if (!out || !is(n, GRAPH_NODE)) return CUDA_ERROR_INVALID_VALUE;
    *out = n->work.type;
    return CUDA_SUCCESS;
}

/* The common shape of the listing functions: with an array, as many as it holds, the rest NULL; without, the number. */
struct listing { void **out; size_t room, seen; };
static void list_one(struct listing *l, void *item) {
    if (l->out && l->seen < l->room) l->out[l->seen] = item;
    l->seen++;
}
static CUresult list_end(struct listing *l, size_t *count) {
    for (size_t i = l->seen; l->out && i < l->room; i++) l->out[i] = NULL;
    *count = l->out ? MIN(l->seen, l->room) : l->seen;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphGetNodes)(CUgraph g, CUgraphNode *nodes, size_t *count) {
    if (!is(g, GRAPH) || !count) return CUDA_ERROR_INVALID_VALUE;
    struct listing l = { (void **)nodes, *count, 0 };
    for (CUgraphNode n = g->first; n; n = n->next) list_one(&l, n);
    return list_end(&l, count);
}

CUresult DRV(cuGraphGetRootNodes)(CUgraph g, CUgraphNode *nodes, size_t *count) {
    if (!is(g, GRAPH) || !count) return CUDA_ERROR_INVALID_VALUE;
    struct listing l = { (void **)nodes, *count, 0 };
    for (CUgraphNode n = g->first; n; n = n->next)
        if (n->after_count == 0) list_one(&l, n);
    return list_end(&l, count);
}

CUresult DRV(cuGraphGetEdges_v2)(CUgraph g, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edges, size_t *count) {
    if (!is(g, GRAPH) || !count || !from != !to) return CUDA_ERROR_INVALID_VALUE;
    struct listing f = { (void **)from, *count, 0 }, t = { (void **)to, *count, 0 };
    for (CUgraphNode n = g->first; n; n = n->next)
        for (size_t i = 0; i < n->after_count; i++) {
            if (edges && f.seen < *count) edges[f.seen] = (CUgraphEdgeData){ 0 };
            list_one(&f, n->after[i]);
            list_one(&t, n);
        }
    list_end(&t, &(size_t){ 0 });
    return list_end(&f, count);
}

CUresult DRV(cuGraphGetEdges)(CUgraph g, CUgraphNode *from, CUgraphNode *to, size_t *count) { return DRV(cuGraphGetEdges_v2)(g, from, to, NULL, count); }

CUresult DRV(cuGraphNodeGetDependencies_v2)(CUgraphNode n, CUgraphNode *nodes, CUgraphEdgeData *edges, size_t *count) {
    if (!is(n, GRAPH_NODE) || !count) return CUDA_ERROR_INVALID_VALUE;
    if (edges) memset(edges, 0, sizeof *edges * *count);
    struct listing l = { (void **)nodes, *count, 0 };
    for (size_t i = 0; i < n->after_count; i++) list_one(&l, n->after[i]);
    return list_end(&l, count);
}

CUresult DRV(cuGraphNodeGetDependencies)(CUgraphNode n, CUgraphNode *nodes, size_t *count) { return DRV(cuGraphNodeGetDependencies_v2)(n, nodes, NULL, count); }

CUresult DRV(cuGraphNodeGetDependentNodes_v2)(CUgraphNode n, CUgraphNode *nodes, CUgraphEdgeData *edges, size_t *count) {
    if (!is(n, GRAPH_NODE) || !count) return CUDA_ERROR_INVALID_VALUE;
    if (edges) memset(edges, 0, sizeof *edges * *count);
    struct listing l = { (void **)nodes, *count, 0 };
    for (CUgraphNode m = n->graph->first; m; m = m->next)
        for (size_t i = 0; i < m->after_count; i++)
            if (m->after[i] == n) list_one(&l, m);
    return list_end(&l, count);
}

CUresult DRV(cuGraphNodeGetDependentNodes)(CUgraphNode n, CUgraphNode *nodes, size_t *count) { return DRV(cuGraphNodeGetDependentNodes_v2)(n, nodes, NULL, count); }

/* ---- changing */
CUresult DRV(cuGraphAddDependencies_v2)(CUgraph g, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edges, size_t count) {
    (void)edges;
    if (!is(g, GRAPH) || (count && (!from || !to))) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        if (!is(from[i], GRAPH_NODE) || !is(to[i], GRAPH_NODE) || from[i]->graph != g || to[i]->graph != g) return CUDA_ERROR_INVALID_VALUE;
        if (!graph_depend(to[i], from[i])) return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphAddDependencies)(CUgraph g, const CUgraphNode *from, const CUgraphNode *to, size_t count) { return DRV(cuGraphAddDependencies_v2)(g, from, to, NULL, count); }

static bool undepend(CUgraphNode n, CUgraphNode on) {
    for (size_t i = 0; i < n->after_count; i++)
        if (n->after[i] == on) {
            n->after[i] = n->after[--n->after_count];
            return true;
        }
    return false;
}

CUresult DRV(cuGraphRemoveDependencies_v2)(CUgraph g, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edges, size_t count) {
    (void)edges;
    if (!is(g, GRAPH) || (count && (!from || !to))) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        if (!is(to[i], GRAPH_NODE) || !undepend(to[i], from[i])) return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphRemoveDependencies)(CUgraph g, const CUgraphNode *from, const CUgraphNode *to, size_t count) { return DRV(cuGraphRemoveDependencies_v2)(g, from, to, NULL, count); }

CUresult DRV(cuGraphDestroyNode)(CUgraphNode n) {
    if (!is(n, GRAPH_NODE)) return CUDA_ERROR_INVALID_VALUE;
    CUgraph g = n->graph;
    for (CUgraphNode m = g->first; m; m = m->next) undepend(m, n);
    for (CUgraphNode *p = &g->first; *p; p = &(*p)->next)
        if (*p == n) {
            *p = n->next;
            if (!n->next) g->last = p;
            break;
        }
    if (n->work.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || n->work.type == CU_GRAPH_NODE_TYPE_MEM_FREE) graph_memory_unref(n->work.memory);
    work_drop(&n->work);
    free(n->after);
    object_free(n);
    return CUDA_SUCCESS;
}

/* ---- node parameters */
CUresult DRV(cuGraphKernelNodeGetParams_v2)(CUgraphNode n, CUDA_KERNEL_NODE_PARAMS *out) {
    if (!out || !node_of(n, CU_GRAPH_NODE_TYPE_KERNEL)) return CUDA_ERROR_INVALID_VALUE;
    struct launch *l = &n->work.launch;
    *out = (CUDA_KERNEL_NODE_PARAMS){ .func = l->function, .gridDimX = l->grid[0], .gridDimY = l->grid[1], .gridDimZ = l->grid[2],
        .blockDimX = l->block[0], .blockDimY = l->block[1], .blockDimZ = l->block[2], .sharedMemBytes = l->shared,
        .kernelParams = l->arguments->given, .ctx = n->work.context };
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphKernelNodeGetParams)(CUgraphNode n, CUDA_KERNEL_NODE_PARAMS_v1 *out) {
    CUDA_KERNEL_NODE_PARAMS two;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(DRV(cuGraphKernelNodeGetParams_v2)(n, &two));
    *out = (CUDA_KERNEL_NODE_PARAMS_v1){ .func = two.func, .gridDimX = two.gridDimX, .gridDimY = two.gridDimY, .gridDimZ = two.gridDimZ,
        .blockDimX = two.blockDimX, .blockDimY = two.blockDimY, .blockDimZ = two.blockDimZ, .sharedMemBytes = two.sharedMemBytes,
        .kernelParams = two.kernelParams };
    return CUDA_SUCCESS;
}

static CUresult kernel_set(CUgraphNode n, const CUDA_KERNEL_NODE_PARAMS *p) {
    if (!p || !node_of(n, CU_GRAPH_NODE_TYPE_KERNEL)) return CUDA_ERROR_INVALID_VALUE;
    struct work w = n->work;
    TRY(launch_make(p, &w.launch));
    work_drop(&n->work);
    n->work = w;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphKernelNodeSetParams_v2)(CUgraphNode n, const CUDA_KERNEL_NODE_PARAMS *p) { return kernel_set(n, p); }

CUresult DRV(cuGraphKernelNodeSetParams)(CUgraphNode n, const CUDA_KERNEL_NODE_PARAMS_v1 *p) {
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    CUDA_KERNEL_NODE_PARAMS two = second_form(p);
    return kernel_set(n, &two);
}

/* Copies, fills and host functions keep their parameters as they were given. */
#define GET(KIND, FIELD)                                                                         \
    do {                                                                                         \
        if (!out || !node_of(n, CU_GRAPH_NODE_TYPE_##KIND)) return CUDA_ERROR_INVALID_VALUE;     \
        *out = n->work.FIELD;                                                                    \
        return CUDA_SUCCESS;                                                                     \
    } while (0)
#define SET(KIND, FIELD, VALID)                                                                  \
    do {                                                                                         \
        if (!p || !(VALID) || !node_of(n, CU_GRAPH_NODE_TYPE_##KIND)) return CUDA_ERROR_INVALID_VALUE; \
        n->work.FIELD = *p;                                                                      \
        return CUDA_SUCCESS;                                                                     \
    } while (0)
CUresult DRV(cuGraphMemcpyNodeGetParams)(CUgraphNode n, CUDA_MEMCPY3D *out) { GET(MEMCPY, copy); }
CUresult DRV(cuGraphMemsetNodeGetParams)(CUgraphNode n, CUDA_MEMSET_NODE_PARAMS *out) { GET(MEMSET, fill); }
CUresult DRV(cuGraphHostNodeGetParams)(CUgraphNode n, CUDA_HOST_NODE_PARAMS *out) { GET(HOST, host); }
CUresult DRV(cuGraphMemcpyNodeSetParams)(CUgraphNode n, const CUDA_MEMCPY3D *p) { SET(MEMCPY, copy, copy_valid(p)); }
CUresult DRV(cuGraphMemsetNodeSetParams)(CUgraphNode n, const CUDA_MEMSET_NODE_PARAMS *p) { SET(MEMSET, fill, fill_valid(p)); }
CUresult DRV(cuGraphHostNodeSetParams)(CUgraphNode n, const CUDA_HOST_NODE_PARAMS *p) { SET(HOST, host, p->fn != NULL); }

CUresult DRV(cuGraphChildGraphNodeGetGraph)(CUgraphNode n, CUgraph *out) {
    if (!out || !node_of(n, CU_GRAPH_NODE_TYPE_GRAPH)) return CUDA_ERROR_INVALID_VALUE;
    *out = n->work.child;
    return CUDA_SUCCESS;
}

static CUresult event_get(CUgraphNode n, CUgraphNodeType type, CUevent *out) {
    if (!out || !node_of(n, type)) return CUDA_ERROR_INVALID_VALUE;
    *out = n->work.event;
    return CUDA_SUCCESS;
}

static CUresult event_set(CUgraphNode n, CUgraphNodeType type, CUevent e) {
    if (!node_of(n, type)) return CUDA_ERROR_INVALID_VALUE;
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    n->work.event = e;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphEventRecordNodeGetEvent)(CUgraphNode n, CUevent *out) { return event_get(n, CU_GRAPH_NODE_TYPE_EVENT_RECORD, out); }
CUresult DRV(cuGraphEventRecordNodeSetEvent)(CUgraphNode n, CUevent e) { return event_set(n, CU_GRAPH_NODE_TYPE_EVENT_RECORD, e); }
CUresult DRV(cuGraphEventWaitNodeGetEvent)(CUgraphNode n, CUevent *out) { return event_get(n, CU_GRAPH_NODE_TYPE_WAIT_EVENT, out); }
CUresult DRV(cuGraphEventWaitNodeSetEvent)(CUgraphNode n, CUevent e) { return event_set(n, CU_GRAPH_NODE_TYPE_WAIT_EVENT, e); }

CUresult DRV(cuGraphMemAllocNodeGetParams)(CUgraphNode n, CUDA_MEM_ALLOC_NODE_PARAMS *out) {
    if (!out || !node_of(n, CU_GRAPH_NODE_TYPE_MEM_ALLOC)) return CUDA_ERROR_INVALID_VALUE;
    *out = (CUDA_MEM_ALLOC_NODE_PARAMS){ .bytesize = n->work.memory->size, .dptr = n->work.memory->pointer };
    out->poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    out->poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    out->poolProps.location.id = n->work.memory->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGraphMemFreeNodeGetParams)(CUgraphNode n, CUdeviceptr *out) {
    if (!out || !node_of(n, CU_GRAPH_NODE_TYPE_MEM_FREE)) return CUDA_ERROR_INVALID_VALUE;
    *out = n->work.memory->pointer;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGraphMemTrim)(CUdevice d) { return device_get(d) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; }
