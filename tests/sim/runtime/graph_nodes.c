/* graph_nodes.c: nodes by type. A node's parameters are *put* into the driver's form (host stand-ins become kernels, three
 * dimensional copies become CUDA_MEMCPY3D, the current context is added) and *got* back from it. Host, memset and event
 * nodes have the same parameters in both headers. */
#include "runtime.h"
#include "graph_nodes.h"

static cudaError_t context(CUcontext *current) { return rt(DRV(cuCtxGetCurrent)(current)); }

/* --- kernels */
static cudaError_t put_kernel(const struct cudaKernelNodeParams *p, CUDA_KERNEL_NODE_PARAMS *d)
{
    CUkernel kernel;
    NEED(p);
    TRY(rt_kernel(p->func, &kernel));
    *d = (CUDA_KERNEL_NODE_PARAMS){ .gridDimX = p->gridDim.x, .gridDimY = p->gridDim.y, .gridDimZ = p->gridDim.z,
        .blockDimX = p->blockDim.x, .blockDimY = p->blockDim.y, .blockDimZ = p->blockDim.z,
        .sharedMemBytes = p->sharedMemBytes, .kernelParams = p->kernelParams, .extra = p->extra, .kern = kernel };
    return context(&d->ctx);
}
API_CTX(cudaGraphAddKernelNode, (NODE_PLACE, const struct cudaKernelNodeParams *p), (NODE_ARGS, p))
{
    CUDA_KERNEL_NODE_PARAMS d;
    TRY(put_kernel(p, &d));
    return rt(DRV(cuGraphAddKernelNode)(NODE_ARGS, &d));
}
API(cudaGraphKernelNodeGetParams, (cudaGraphNode_t node, struct cudaKernelNodeParams *p), (node, p))
{
    CUDA_KERNEL_NODE_PARAMS d = { 0 };
    NEED(p);
    TRY(rt(DRV(cuGraphKernelNodeGetParams)(node, &d)));
    *p = (struct cudaKernelNodeParams){ .func = (void *)rt_host_function(d.kern ? (CUfunction)d.kern : d.func),
        .gridDim = { d.gridDimX, d.gridDimY, d.gridDimZ }, .blockDim = { d.blockDimX, d.blockDimY, d.blockDimZ },
        .sharedMemBytes = d.sharedMemBytes, .kernelParams = d.kernelParams, .extra = d.extra };
    return cudaSuccess;
}
API_CTX(cudaGraphKernelNodeSetParams, (cudaGraphNode_t node, const struct cudaKernelNodeParams *p), (node, p))
{
    CUDA_KERNEL_NODE_PARAMS d;
    TRY(put_kernel(p, &d));
    return rt(DRV(cuGraphKernelNodeSetParams)(node, &d));
}
API_CTX(cudaGraphExecKernelNodeSetParams, (cudaGraphExec_t exec, cudaGraphNode_t node, const struct cudaKernelNodeParams *p), (exec, node, p))
{
    CUDA_KERNEL_NODE_PARAMS d;
    TRY(put_kernel(p, &d));
    return rt(DRV(cuGraphExecKernelNodeSetParams)(exec, node, &d));
}
#if CUDART_VERSION < 13000
API(cudaGraphKernelNodeCopyAttributes, (cudaGraphNode_t from, cudaGraphNode_t to), (from, to))
#else
API(cudaGraphKernelNodeCopyAttributes, (cudaGraphNode_t to, cudaGraphNode_t from), (to, from))
#endif
{
    return rt(DRV(cuGraphKernelNodeCopyAttributes)(to, from));
}
API(cudaGraphKernelNodeGetAttribute, (cudaGraphNode_t node, cudaLaunchAttributeID which, cudaLaunchAttributeValue *value), (node, which, value))
{
    return rt(DRV(cuGraphKernelNodeGetAttribute)(node, (CUkernelNodeAttrID)which, (CUkernelNodeAttrValue *)value));
}
API(cudaGraphKernelNodeSetAttribute, (cudaGraphNode_t node, cudaLaunchAttributeID which, const cudaLaunchAttributeValue *value), (node, which, value))
{
    return rt(DRV(cuGraphKernelNodeSetAttribute)(node, (CUkernelNodeAttrID)which, (const CUkernelNodeAttrValue *)value));
}

/* --- copies */
static enum cudaMemcpyKind kind_of(CUmemorytype from, CUmemorytype to)
{
    if (from == CU_MEMORYTYPE_UNIFIED || to == CU_MEMORYTYPE_UNIFIED)
        return cudaMemcpyDefault;
    return from == CU_MEMORYTYPE_HOST ? (to == CU_MEMORYTYPE_HOST ? cudaMemcpyHostToHost : cudaMemcpyHostToDevice)
                                      : (to == CU_MEMORYTYPE_HOST ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice);
}
static struct cudaMemcpy3DParms get_copy(const CUDA_MEMCPY3D *c)
{
    void *src = c->srcMemoryType == CU_MEMORYTYPE_HOST ? (void *)c->srcHost : (void *)c->srcDevice;
    void *dst = c->dstMemoryType == CU_MEMORYTYPE_HOST ? c->dstHost : (void *)c->dstDevice;
    return (struct cudaMemcpy3DParms){ .srcPos = { c->srcXInBytes, c->srcY, c->srcZ },
        .srcPtr = { src, c->srcPitch, c->WidthInBytes, c->srcHeight }, .dstPos = { c->dstXInBytes, c->dstY, c->dstZ },
        .dstPtr = { dst, c->dstPitch, c->WidthInBytes, c->dstHeight },
        .extent = { c->WidthInBytes, c->Height, c->Depth }, .kind = kind_of(c->srcMemoryType, c->dstMemoryType) };
}
static struct cudaMemcpy3DParms one_dimension(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
    return (struct cudaMemcpy3DParms){ .srcPtr = { (void *)src, n, n, 1 }, .dstPtr = { dst, n, n, 1 },
                                       .extent = { n, 1, 1 }, .kind = kind };
}
static cudaError_t symbol_place(const void *symbol, size_t n, size_t offset, char **place)
{
    CUdeviceptr address;
    size_t size;
    TRY(rt_symbol(symbol, &address, &size));
    NEED(offset <= size && n <= size - offset);
    *place = (char *)address + offset;
    return cudaSuccess;
}
static cudaError_t add_copy(NODE_PLACE, const struct cudaMemcpy3DParms *p)
{
    CUDA_MEMCPY3D c;
    CUcontext current;
    TRY(rt_copy_params(p, &c));
    TRY(context(&current));
    return rt(DRV(cuGraphAddMemcpyNode)(NODE_ARGS, &c, current));
}
static cudaError_t set_copy(cudaGraphNode_t node, const struct cudaMemcpy3DParms *p)
{
    CUDA_MEMCPY3D c;
    TRY(rt_copy_params(p, &c));
    return rt(DRV(cuGraphMemcpyNodeSetParams)(node, &c));
}
static cudaError_t set_exec_copy(cudaGraphExec_t exec, cudaGraphNode_t node, const struct cudaMemcpy3DParms *p)
{
    CUDA_MEMCPY3D c;
    CUcontext current;
    TRY(rt_copy_params(p, &c));
    TRY(context(&current));
    return rt(DRV(cuGraphExecMemcpyNodeSetParams)(exec, node, &c, current));
}
API_CTX(cudaGraphAddMemcpyNode, (NODE_PLACE, const struct cudaMemcpy3DParms *p), (NODE_ARGS, p)) { return add_copy(NODE_ARGS, p); }
API_CTX(cudaGraphMemcpyNodeSetParams, (cudaGraphNode_t node, const struct cudaMemcpy3DParms *p), (node, p)) { return set_copy(node, p); }
API_CTX(cudaGraphExecMemcpyNodeSetParams, (cudaGraphExec_t exec, cudaGraphNode_t node, const struct cudaMemcpy3DParms *p), (exec, node, p))
{
    return set_exec_copy(exec, node, p);
}
API(cudaGraphMemcpyNodeGetParams, (cudaGraphNode_t node, struct cudaMemcpy3DParms *p), (node, p))
{
    CUDA_MEMCPY3D c = { 0 };
    NEED(p);
    TRY(rt(DRV(cuGraphMemcpyNodeGetParams)(node, &c)));
    *p = get_copy(&c);
    return cudaSuccess;
}
/* The shapes that are given by pointer, by symbol as target, by symbol as source: for add, set and executable set. */
#define COPY_SHAPES(add_or_set, NAME_1D, NAME_TO, NAME_FROM, PLACE, ARGS) \
    API_CTX(NAME_1D, (PLACE, void *dst, const void *src, size_t n, enum cudaMemcpyKind kind), (ARGS, dst, src, n, kind)) \
    { \
        struct cudaMemcpy3DParms p = one_dimension(dst, src, n, kind); \
        return add_or_set(ARGS, &p); \
    } \
    API_CTX(NAME_TO, (PLACE, const void *symbol, const void *src, size_t n, size_t offset, enum cudaMemcpyKind kind), \
            (ARGS, symbol, src, n, offset, kind)) \
    { \
        char *place; \
        TRY(symbol_place(symbol, n, offset, &place)); \
        struct cudaMemcpy3DParms p = one_dimension(place, src, n, kind); \
        return add_or_set(ARGS, &p); \
    } \
    API_CTX(NAME_FROM, (PLACE, void *dst, const void *symbol, size_t n, size_t offset, enum cudaMemcpyKind kind), \
            (ARGS, dst, symbol, n, offset, kind)) \
    { \
        char *place; \
        TRY(symbol_place(symbol, n, offset, &place)); \
        struct cudaMemcpy3DParms p = one_dimension(dst, place, n, kind); \
        return add_or_set(ARGS, &p); \
    }
#define COMMA ,
COPY_SHAPES(add_copy, cudaGraphAddMemcpyNode1D, cudaGraphAddMemcpyNodeToSymbol, cudaGraphAddMemcpyNodeFromSymbol, NODE_PLACE, NODE_ARGS)
COPY_SHAPES(set_copy, cudaGraphMemcpyNodeSetParams1D, cudaGraphMemcpyNodeSetParamsToSymbol, cudaGraphMemcpyNodeSetParamsFromSymbol,
            cudaGraphNode_t node, node)
COPY_SHAPES(set_exec_copy, cudaGraphExecMemcpyNodeSetParams1D, cudaGraphExecMemcpyNodeSetParamsToSymbol,
            cudaGraphExecMemcpyNodeSetParamsFromSymbol, cudaGraphExec_t exec COMMA cudaGraphNode_t node, exec COMMA node)

/* --- fills */
SAME_LAYOUT(struct cudaMemsetParams, CUDA_MEMSET_NODE_PARAMS);
typedef const CUDA_MEMSET_NODE_PARAMS *memset_in;
API_CTX(cudaGraphAddMemsetNode, (NODE_PLACE, const struct cudaMemsetParams *p), (NODE_ARGS, p))
{
    CUcontext current;
    TRY(context(&current));
    return rt(DRV(cuGraphAddMemsetNode)(NODE_ARGS, (memset_in)p, current));
}
API(cudaGraphMemsetNodeGetParams, (cudaGraphNode_t node, struct cudaMemsetParams *p), (node, p))
{
    return rt(DRV(cuGraphMemsetNodeGetParams)(node, (CUDA_MEMSET_NODE_PARAMS *)p));
}
API(cudaGraphMemsetNodeSetParams, (cudaGraphNode_t node, const struct cudaMemsetParams *p), (node, p))
{
    return rt(DRV(cuGraphMemsetNodeSetParams)(node, (memset_in)p));
}
API_CTX(cudaGraphExecMemsetNodeSetParams, (cudaGraphExec_t exec, cudaGraphNode_t node, const struct cudaMemsetParams *p), (exec, node, p))
{
    CUcontext current;
    TRY(context(&current));
    return rt(DRV(cuGraphExecMemsetNodeSetParams)(exec, node, (memset_in)p, current));
}

/* --- host functions */
SAME_LAYOUT(struct cudaHostNodeParams, CUDA_HOST_NODE_PARAMS_v1);
typedef const CUDA_HOST_NODE_PARAMS *host_in;
API(cudaGraphAddHostNode, (NODE_PLACE, const struct cudaHostNodeParams *p), (NODE_ARGS, p))
{
    return rt(DRV(cuGraphAddHostNode)(NODE_ARGS, (host_in)p));
}
API(cudaGraphHostNodeGetParams, (cudaGraphNode_t node, struct cudaHostNodeParams *p), (node, p))
{
    return rt(DRV(cuGraphHostNodeGetParams)(node, (CUDA_HOST_NODE_PARAMS *)p));
}
API(cudaGraphHostNodeSetParams, (cudaGraphNode_t node, const struct cudaHostNodeParams *p), (node, p))
{
    return rt(DRV(cuGraphHostNodeSetParams)(node, (host_in)p));
}
API(cudaGraphExecHostNodeSetParams, (cudaGraphExec_t exec, cudaGraphNode_t node, const struct cudaHostNodeParams *p), (exec, node, p))
{
    return rt(DRV(cuGraphExecHostNodeSetParams)(exec, node, (host_in)p));
}

/* --- child graphs, empty nodes, events */
API(cudaGraphAddChildGraphNode, (NODE_PLACE, cudaGraph_t child), (NODE_ARGS, child))
{
    return rt(DRV(cuGraphAddChildGraphNode)(NODE_ARGS, child));
}
API(cudaGraphChildGraphNodeGetGraph, (cudaGraphNode_t node, cudaGraph_t *graph), (node, graph))
{
    return rt(DRV(cuGraphChildGraphNodeGetGraph)(node, graph));
}
API(cudaGraphExecChildGraphNodeSetParams, (cudaGraphExec_t exec, cudaGraphNode_t node, cudaGraph_t child), (exec, node, child))
{
    return rt(DRV(cuGraphExecChildGraphNodeSetParams)(exec, node, child));
}
API(cudaGraphAddEmptyNode, (NODE_PLACE), (NODE_ARGS)) { return rt(DRV(cuGraphAddEmptyNode)(NODE_ARGS)); }
#define EVENT_NODE(Kind) \
    API(cudaGraphAddEvent##Kind##Node, (NODE_PLACE, cudaEvent_t event), (NODE_ARGS, event)) \
    { \
        return rt(DRV(cuGraphAddEvent##Kind##Node)(NODE_ARGS, event)); \
    } \
    API(cudaGraphEvent##Kind##NodeGetEvent, (cudaGraphNode_t node, cudaEvent_t *event), (node, event)) \
    { \
        return rt(DRV(cuGraphEvent##Kind##NodeGetEvent)(node, event)); \
    } \
    API(cudaGraphEvent##Kind##NodeSetEvent, (cudaGraphNode_t node, cudaEvent_t event), (node, event)) \
    { \
        return rt(DRV(cuGraphEvent##Kind##NodeSetEvent)(node, event)); \
    } \
    API(cudaGraphExecEvent##Kind##NodeSetEvent, (cudaGraphExec_t exec, cudaGraphNode_t node, cudaEvent_t event), (exec, node, event)) \
    { \
        return rt(DRV(cuGraphExecEvent##Kind##NodeSetEvent)(exec, node, event)); \
    }
EVENT_NODE(Record)
EVENT_NODE(Wait)

/* --- memory */
SAME_LAYOUT(struct cudaMemAllocNodeParams, CUDA_MEM_ALLOC_NODE_PARAMS_v1);
API_CTX(cudaGraphAddMemAllocNode, (NODE_PLACE, struct cudaMemAllocNodeParams *p), (NODE_ARGS, p))
{
    return rt(DRV(cuGraphAddMemAllocNode)(NODE_ARGS, (CUDA_MEM_ALLOC_NODE_PARAMS *)p));
}
API(cudaGraphMemAllocNodeGetParams, (cudaGraphNode_t node, struct cudaMemAllocNodeParams *p), (node, p))
{
    return rt(DRV(cuGraphMemAllocNodeGetParams)(node, (CUDA_MEM_ALLOC_NODE_PARAMS *)p));
}
API_CTX(cudaGraphAddMemFreeNode, (NODE_PLACE, void *pointer), (NODE_ARGS, pointer))
{
    return rt(DRV(cuGraphAddMemFreeNode)(NODE_ARGS, (CUdeviceptr)pointer));
}
API(cudaGraphMemFreeNodeGetParams, (cudaGraphNode_t node, void *pointer), (node, pointer))
{
    return rt(DRV(cuGraphMemFreeNodeGetParams)(node, (CUdeviceptr *)pointer));
}

/* --- nodes of any type */
SAME_LAYOUT(struct cudaGraphNodeParams, CUgraphNodeParams);

static cudaError_t put_kernel_any(const struct cudaKernelNodeParamsV2 *p, CUDA_KERNEL_NODE_PARAMS_v3 *d)
{
    CUkernel kernel;
    TRY(rt_kernel(p->func, &kernel));
    *d = (CUDA_KERNEL_NODE_PARAMS_v3){ .gridDimX = p->gridDim.x, .gridDimY = p->gridDim.y, .gridDimZ = p->gridDim.z,
        .blockDimX = p->blockDim.x, .blockDimY = p->blockDim.y, .blockDimZ = p->blockDim.z,
        .sharedMemBytes = p->sharedMemBytes, .kernelParams = p->kernelParams, .extra = p->extra, .kern = kernel };
    return context(&d->ctx);
}
static cudaError_t put_any(const struct cudaGraphNodeParams *p, CUgraphNodeParams *d)
{
    NEED(p);
    memcpy(d, p, sizeof *d);
    switch (p->type) {
    case cudaGraphNodeTypeKernel:
        return put_kernel_any(&p->kernel, &d->kernel);
    case cudaGraphNodeTypeMemcpy:
        memset(&d->memcpy, 0, sizeof d->memcpy);
        TRY(rt_copy_params(&p->memcpy.copyParams, &d->memcpy.copyParams));
        return context(&d->memcpy.copyCtx);
    case cudaGraphNodeTypeMemset:
        return context(&d->memset.ctx);
    case cudaGraphNodeTypeConditional:
        return context(&d->conditional.ctx);
    default:
        return cudaSuccess;
    }
}
/* What the driver fills in: a new allocation's address, the body graphs of a conditional. */
static void get_any(const CUgraphNodeParams *d, struct cudaGraphNodeParams *p)
{
    if (p->type == cudaGraphNodeTypeMemAlloc)
        p->alloc.dptr = (void *)d->alloc.dptr;
    if (p->type == cudaGraphNodeTypeConditional)
        p->conditional.phGraph_out = d->conditional.phGraph_out;
}
static cudaError_t add_any(NODE_PLACE_EDGES, struct cudaGraphNodeParams *p)
{
    CUgraphNodeParams d;
    TRY(put_any(p, &d));
    TRY(rt(DRV(cuGraphAddNode)(out, graph, nodes, (const CUgraphEdgeData *)edges, count, &d)));
    get_any(&d, p);
    return cudaSuccess;
}
#if CUDART_VERSION < 13000
API_CTX(cudaGraphAddNode, (NODE_PLACE, struct cudaGraphNodeParams *p), (NODE_ARGS, p)) { return add_any(out, graph, nodes, NULL, count, p); }
API_CTX(cudaGraphAddNode_v2, (NODE_PLACE_EDGES, struct cudaGraphNodeParams *p), (out, graph, nodes, edges, count, p))
#else
API_CTX(cudaGraphAddNode, (NODE_PLACE_EDGES, struct cudaGraphNodeParams *p), (out, graph, nodes, edges, count, p))
#endif
{
    return add_any(out, graph, nodes, edges, count, p);
}
API_CTX(cudaGraphNodeSetParams, (cudaGraphNode_t node, struct cudaGraphNodeParams *p), (node, p))
{
    CUgraphNodeParams d;
    TRY(put_any(p, &d));
    return rt(DRV(cuGraphNodeSetParams)(node, &d));
}
API_CTX(cudaGraphExecNodeSetParams, (cudaGraphExec_t exec, cudaGraphNode_t node, struct cudaGraphNodeParams *p), (exec, node, p))
{
    CUgraphNodeParams d;
    TRY(put_any(p, &d));
    return rt(DRV(cuGraphExecNodeSetParams)(exec, node, &d));
}
