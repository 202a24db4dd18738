/* graph_nodes.h: the parameters that every function that adds a node begins with. */
#pragma once
#define NODE_PLACE cudaGraphNode_t *out, cudaGraph_t graph, const cudaGraphNode_t *nodes, size_t count
#define NODE_ARGS out, graph, nodes, count
#define NODE_PLACE_EDGES cudaGraphNode_t *out, cudaGraph_t graph, const cudaGraphNode_t *nodes, const cudaGraphEdgeData *edges, size_t count
