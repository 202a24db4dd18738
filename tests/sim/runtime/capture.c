/* capture.c: recording a stream's work into a graph. All state is the driver's. */
#include "runtime.h"
SAME_LAYOUT(cudaGraphEdgeData, CUgraphEdgeData);

STREAM_API(cudaStreamBeginCapture, (cudaStream_t stream, enum cudaStreamCaptureMode mode), (stream, mode))
{
    return rt(DRV(cuStreamBeginCapture)(stream, (CUstreamCaptureMode)mode));
}
STREAM_API(cudaStreamBeginCaptureToGraph, (cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t *nodes,
           const cudaGraphEdgeData *edges, size_t count, enum cudaStreamCaptureMode mode), (stream, graph, nodes, edges, count, mode))
{
    return rt(DRV(cuStreamBeginCaptureToGraph)(stream, graph, nodes, (const CUgraphEdgeData *)edges, count, (CUstreamCaptureMode)mode));
}
STREAM_API(cudaStreamEndCapture, (cudaStream_t stream, cudaGraph_t *graph), (stream, graph))
{
    NEED(graph);
    return rt(DRV(cuStreamEndCapture)(stream, graph));
}
STREAM_API(cudaStreamIsCapturing, (cudaStream_t stream, enum cudaStreamCaptureStatus *status), (stream, status))
{
    NEED(status);
    return rt(DRV(cuStreamIsCapturing)(stream, (CUstreamCaptureStatus *)status));
}

/* 13.x has one form with edge data; 12.x has _v2 without it and _v3 with it. */
#if CUDART_VERSION < 13000
#define WITH_EDGES(name) name##_v3
#define UPDATE_WITH_EDGES(name) name##_v2
STREAM_API(cudaStreamGetCaptureInfo_v2, (cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id,
           cudaGraph_t *graph, const cudaGraphNode_t **nodes, size_t *count), (stream, status, id, graph, nodes, count))
{
    return rt(DRV(cuStreamGetCaptureInfo)(stream, (CUstreamCaptureStatus *)status, (cuuint64_t *)id, graph, nodes, NULL, count));
}
STREAM_API(cudaStreamUpdateCaptureDependencies, (cudaStream_t stream, cudaGraphNode_t *nodes, size_t count, unsigned flags),
           (stream, nodes, count, flags))
{
    return rt(DRV(cuStreamUpdateCaptureDependencies)(stream, nodes, NULL, count, flags));
}
#else
#define WITH_EDGES(name) name
#define UPDATE_WITH_EDGES(name) name
#endif
#define STREAM_API_EXPANDED(name, params, args) STREAM_API(name, params, args)

STREAM_API_EXPANDED(WITH_EDGES(cudaStreamGetCaptureInfo), (cudaStream_t stream, enum cudaStreamCaptureStatus *status,
    unsigned long long *id, cudaGraph_t *graph, const cudaGraphNode_t **nodes, const cudaGraphEdgeData **edges, size_t *count),
    (stream, status, id, graph, nodes, edges, count))
{
    return rt(DRV(cuStreamGetCaptureInfo)(stream, (CUstreamCaptureStatus *)status, (cuuint64_t *)id, graph, nodes,
                                          (const CUgraphEdgeData **)edges, count));
}
STREAM_API_EXPANDED(UPDATE_WITH_EDGES(cudaStreamUpdateCaptureDependencies), (cudaStream_t stream, cudaGraphNode_t *nodes,
    const cudaGraphEdgeData *edges, size_t count, unsigned flags), (stream, nodes, edges, count, flags))
{
    return rt(DRV(cuStreamUpdateCaptureDependencies)(stream, nodes, (const CUgraphEdgeData *)edges, count, flags));
}
API(cudaThreadExchangeStreamCaptureMode, (enum cudaStreamCaptureMode *mode), (mode))
{
    NEED(mode);
    return rt(DRV(cuThreadExchangeStreamCaptureMode)((CUstreamCaptureMode *)mode));
}
