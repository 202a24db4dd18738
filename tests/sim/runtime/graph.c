/* graph.c: graphs as wholes: creation, edges, instantiation, launch, user objects. Typed nodes are in graph_nodes.c.
 * Graphs, nodes and executables are the driver's own handles. */
#include "runtime.h"
SAME_LAYOUT(cudaGraphEdgeData, CUgraphEdgeData);
SAME_LAYOUT(cudaGraphInstantiateParams, CUDA_GRAPH_INSTANTIATE_PARAMS);
SAME_LAYOUT(cudaGraphExecUpdateResultInfo, CUgraphExecUpdateResultInfo);
typedef const CUgraphEdgeData *edges_in;
typedef CUgraphEdgeData *edges_out;

API(cudaGraphCreate, (cudaGraph_t *graph, unsigned flags), (graph, flags))
{
    NEED(graph);
    return rt(DRV(cuGraphCreate)(graph, flags));
}
API(cudaGraphDestroy, (cudaGraph_t graph), (graph)) { return rt(DRV(cuGraphDestroy)(graph)); }
API(cudaGraphClone, (cudaGraph_t *clone, cudaGraph_t graph), (clone, graph)) { return rt(DRV(cuGraphClone)(clone, graph)); }
API(cudaGraphDebugDotPrint, (cudaGraph_t graph, const char *path, unsigned flags), (graph, path, flags))
{
    return rt(DRV(cuGraphDebugDotPrint)(graph, path, flags));
}
API(cudaGraphNodeFindInClone, (cudaGraphNode_t *node, cudaGraphNode_t original, cudaGraph_t clone), (node, original, clone))
{
    return rt(DRV(cuGraphNodeFindInClone)(node, original, clone));
}
API(cudaGraphNodeGetType, (cudaGraphNode_t node, enum cudaGraphNodeType *type), (node, type))
{
    NEED(type);
    return rt(DRV(cuGraphNodeGetType)(node, (CUgraphNodeType *)type));
}
API(cudaGraphGetNodes, (cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count), (graph, nodes, count))
{
    return rt(DRV(cuGraphGetNodes)(graph, nodes, count));
}
API(cudaGraphGetRootNodes, (cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count), (graph, nodes, count))
{
    return rt(DRV(cuGraphGetRootNodes)(graph, nodes, count));
}
API(cudaGraphDestroyNode, (cudaGraphNode_t node), (node)) { return rt(DRV(cuGraphDestroyNode)(node)); }

/* --- edges: 13.x has one form, with edge data; 12.x has that as _v2 beside an older one without */
#if CUDART_VERSION < 13000
#define EDGES(name) name##_v2
API(cudaGraphGetEdges, (cudaGraph_t graph, cudaGraphNode_t *from, cudaGraphNode_t *to, size_t *count), (graph, from, to, count))
{
    return rt(DRV(cuGraphGetEdges)(graph, from, to, NULL, count));
}
API(cudaGraphNodeGetDependencies, (cudaGraphNode_t node, cudaGraphNode_t *nodes, size_t *count), (node, nodes, count))
{
    return rt(DRV(cuGraphNodeGetDependencies)(node, nodes, NULL, count));
}
API(cudaGraphNodeGetDependentNodes, (cudaGraphNode_t node, cudaGraphNode_t *nodes, size_t *count), (node, nodes, count))
{
    return rt(DRV(cuGraphNodeGetDependentNodes)(node, nodes, NULL, count));
}
API(cudaGraphAddDependencies, (cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to, size_t count), (graph, from, to, count))
{
    return rt(DRV(cuGraphAddDependencies)(graph, from, to, NULL, count));
}
API(cudaGraphRemoveDependencies, (cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to, size_t count), (graph, from, to, count))
{
    return rt(DRV(cuGraphRemoveDependencies)(graph, from, to, NULL, count));
}
#else
#define EDGES(name) name
#endif
#define API_EXPANDED(name, params, args) API(name, params, args)

API_EXPANDED(EDGES(cudaGraphGetEdges), (cudaGraph_t graph, cudaGraphNode_t *from, cudaGraphNode_t *to, cudaGraphEdgeData *edges,
             size_t *count), (graph, from, to, edges, count))
{
    return rt(DRV(cuGraphGetEdges)(graph, from, to, (edges_out)edges, count));
}
API_EXPANDED(EDGES(cudaGraphNodeGetDependencies), (cudaGraphNode_t node, cudaGraphNode_t *nodes, cudaGraphEdgeData *edges, size_t *count),
             (node, nodes, edges, count))
{
    return rt(DRV(cuGraphNodeGetDependencies)(node, nodes, (edges_out)edges, count));
}
API_EXPANDED(EDGES(cudaGraphNodeGetDependentNodes), (cudaGraphNode_t node, cudaGraphNode_t *nodes, cudaGraphEdgeData *edges, size_t *count),
             (node, nodes, edges, count))
{
    return rt(DRV(cuGraphNodeGetDependentNodes)(node, nodes, (edges_out)edges, count));
}
API_EXPANDED(EDGES(cudaGraphAddDependencies), (cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to,
             const cudaGraphEdgeData *edges, size_t count), (graph, from, to, edges, count))
{
    return rt(DRV(cuGraphAddDependencies)(graph, from, to, (edges_in)edges, count));
}
API_EXPANDED(EDGES(cudaGraphRemoveDependencies), (cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to,
             const cudaGraphEdgeData *edges, size_t count), (graph, from, to, edges, count))
{
    return rt(DRV(cuGraphRemoveDependencies)(graph, from, to, (edges_in)edges, count));
}

/* --- executables */
API_CTX(cudaGraphInstantiate, (cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags), (exec, graph, flags))
{
    NEED(exec);
    return rt(DRV(cuGraphInstantiateWithFlags)(exec, graph, flags));
}
API_CTX(cudaGraphInstantiateWithFlags, (cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags), (exec, graph, flags))
{
    NEED(exec);
    return rt(DRV(cuGraphInstantiateWithFlags)(exec, graph, flags));
}
static cudaError_t instantiate_with(cudaGraphExec_t *exec, cudaGraph_t graph, cudaGraphInstantiateParams *params)
{
    NEED(exec && params);
    return rt(DRV(cuGraphInstantiateWithParams)(exec, graph, (CUDA_GRAPH_INSTANTIATE_PARAMS *)params));
}
API_CTX(cudaGraphInstantiateWithParams, (cudaGraphExec_t *exec, cudaGraph_t graph, cudaGraphInstantiateParams *params), (exec, graph, params))
{
    return instantiate_with(exec, graph, params);
}
cudaError_t cudaGraphInstantiateWithParams_ptsz(cudaGraphExec_t *, cudaGraph_t, cudaGraphInstantiateParams *);
API_CTX(cudaGraphInstantiateWithParams_ptsz, (cudaGraphExec_t *exec, cudaGraph_t graph, cudaGraphInstantiateParams *params), (exec, graph, params))
{
    if (params && !params->uploadStream && (params->flags & cudaGraphInstantiateFlagUpload))
        params->uploadStream = cudaStreamPerThread;
    return instantiate_with(exec, graph, params);
}
API(cudaGraphExecGetFlags, (cudaGraphExec_t exec, unsigned long long *flags), (exec, flags))
{
    NEED(flags);
    return rt(DRV(cuGraphExecGetFlags)(exec, (cuuint64_t *)flags));
}
API_CTX(cudaGraphExecUpdate, (cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *info), (exec, graph, info))
{
    NEED(info);
    return rt(DRV(cuGraphExecUpdate)(exec, graph, (CUgraphExecUpdateResultInfo *)info));
}
API(cudaGraphExecDestroy, (cudaGraphExec_t exec), (exec)) { return rt(DRV(cuGraphExecDestroy)(exec)); }
STREAM_API(cudaGraphUpload, (cudaGraphExec_t exec, cudaStream_t stream), (exec, stream)) { return rt(DRV(cuGraphUpload)(exec, stream)); }
STREAM_API(cudaGraphLaunch, (cudaGraphExec_t exec, cudaStream_t stream), (exec, stream)) { return rt(DRV(cuGraphLaunch)(exec, stream)); }
API(cudaGraphNodeSetEnabled, (cudaGraphExec_t exec, cudaGraphNode_t node, unsigned on), (exec, node, on))
{
    return rt(DRV(cuGraphNodeSetEnabled)(exec, node, on));
}
API(cudaGraphNodeGetEnabled, (cudaGraphExec_t exec, cudaGraphNode_t node, unsigned *on), (exec, node, on))
{
    NEED(on);
    return rt(DRV(cuGraphNodeGetEnabled)(exec, node, on));
}

/* --- user objects */
API(cudaUserObjectCreate, (cudaUserObject_t *object, void *data, cudaHostFn_t destroy, unsigned references, unsigned flags),
    (object, data, destroy, references, flags))
{
    NEED(object && destroy);
    return rt(DRV(cuUserObjectCreate)((CUuserObject *)object, data, destroy, references, flags));
}
API(cudaUserObjectRetain, (cudaUserObject_t object, unsigned count), (object, count))
{
    return rt(DRV(cuUserObjectRetain)((CUuserObject)object, count));
}
API(cudaUserObjectRelease, (cudaUserObject_t object, unsigned count), (object, count))
{
    return rt(DRV(cuUserObjectRelease)((CUuserObject)object, count));
}
API(cudaGraphRetainUserObject, (cudaGraph_t graph, cudaUserObject_t object, unsigned count, unsigned flags), (graph, object, count, flags))
{
    return rt(DRV(cuGraphRetainUserObject)(graph, (CUuserObject)object, count, flags));
}
API(cudaGraphReleaseUserObject, (cudaGraph_t graph, cudaUserObject_t object, unsigned count), (graph, object, count))
{
    return rt(DRV(cuGraphReleaseUserObject)(graph, (CUuserObject)object, count));
}
API_CTX(cudaGraphConditionalHandleCreate, (cudaGraphConditionalHandle *handle, cudaGraph_t graph, unsigned value, unsigned flags),
        (handle, graph, value, flags))
{
    CUcontext context;
    NEED(handle);
    TRY(rt(DRV(cuCtxGetCurrent)(&context)));
    return rt(DRV(cuGraphConditionalHandleCreate)((CUgraphConditionalHandle *)handle, graph, context, value, flags));
}
