/* graph.h: graphs.
 * node      a work (work.h) and the nodes that it depends on
 * graph     nodes in order of creation; destroyed with the graph
 * exec      a copy of a graph, in an order that keeps the dependencies; launching it does the works one after the other
 * memory    what an allocation node provides: a block whose address is fixed when the node is made, and which may be touched
 *           from the running of the allocation node to that of the free node. It lives as long as any graph or exec names it. */
#ifndef SIM_GRAPH_H
#define SIM_GRAPH_H
#include "work.h"
#include "memory.h"

struct graph_memory { _Atomic int refs; struct block *block; u64 block_id; CUdeviceptr pointer; size_t size; struct device *device; bool live; };

struct CUgraphNode_st {
    struct object object;
    CUgraph graph;
    CUgraphNode next;                    /* in the graph, in order of creation */
    CUgraphNode copy;                    /* while cloning: the node's double */
    CUgraphNode origin;                  /* in a clone: the node that it was made from */
    struct work work;
    CUgraphNode *after;
    size_t after_count, after_room;
    bool disabled, visited;
    int id;
};

struct CUgraph_st {
    struct object object;
    CUgraphNode first, *last;
    size_t count;
    bool child;                          /* owned by a child-graph node */
    struct held *held;                   /* user objects, with counts (graph_extra.c) */
};

struct CUgraphExec_st { struct object object; CUgraph graph; unsigned long long flags; CUgraphNode *order; size_t count; _Atomic int refs; CUcontext context; };

/* The generic form of a node's parameters, as its own. */
static inline CUDA_KERNEL_NODE_PARAMS graph_kernel_params(const CUgraphNodeParams *p) {
    return (CUDA_KERNEL_NODE_PARAMS){ .func = p->kernel.func, .kern = p->kernel.kern, .gridDimX = p->kernel.gridDimX,
        .gridDimY = p->kernel.gridDimY, .gridDimZ = p->kernel.gridDimZ, .blockDimX = p->kernel.blockDimX,
        .blockDimY = p->kernel.blockDimY, .blockDimZ = p->kernel.blockDimZ, .sharedMemBytes = p->kernel.sharedMemBytes,
        .kernelParams = p->kernel.kernelParams, .extra = p->kernel.extra };
}
static inline CUDA_MEMSET_NODE_PARAMS graph_memset_params(const CUgraphNodeParams *p) {
    return (CUDA_MEMSET_NODE_PARAMS){ .dst = p->memset.dst, .pitch = p->memset.pitch, .value = p->memset.value,
        .elementSize = p->memset.elementSize, .width = p->memset.width, .height = p->memset.height };
}

CUgraph graph_new(void);
void graph_free(CUgraph graph);
CUgraph graph_clone(CUgraph graph);
CUgraphNode graph_add(CUgraph graph, const CUgraphNode *after, size_t count, struct work *work);   /* takes over the work */
bool graph_depend(CUgraphNode node, CUgraphNode on);
CUresult graph_launch(CUgraphExec exec, CUstream stream);
struct graph_memory *graph_memory_new(CUcontext context, struct device *device, size_t size);
struct graph_memory *graph_memory_at(CUdeviceptr pointer);
void graph_memory_ref(struct graph_memory *memory);
void graph_memory_unref(struct graph_memory *memory);
CUresult graph_memory_run(const struct work *work);
void graph_hold_copy(CUgraph to, const struct CUgraph_st *from);
void graph_hold_drop(CUgraph graph);
CUresult graph_order(CUgraph graph, CUgraphNode **order, size_t *count);
#endif
