/* graph.c: making, instantiating, updating and launching graphs. */
#include "conform.h"

static CUstream stream(void) { CUstream s; OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)); return s; }
static CUdeviceptr alloc(size_t n) { CUdeviceptr p; OK(cuMemAlloc(&p, n)); return p; }
static CUgraph graph(void) { CUgraph g; OK(cuGraphCreate(&g, 0)); return g; }
static CUgraphExec instance(CUgraph g) { CUgraphExec x; OK(cuGraphInstantiate(&x, g, 0)); return x; }
static CUcontext context(void) { CUcontext c; OK(cuCtxGetCurrent(&c)); return c; }
static void run(CUgraph g) { CUstream s = stream(); OK(cuGraphLaunch(instance(g), s)); OK(cuStreamSynchronize(s)); }
static CUgraphNode fill(CUgraph g, const CUgraphNode *after, size_t n, CUdeviceptr p, unsigned v) {
    CUgraphNode node;
    unsigned words = 4;
    void *args[] = { &p, &v, &words };
    CUDA_KERNEL_NODE_PARAMS k = { .func = kernel("fill"), .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 1, .blockDimY = 1, .blockDimZ = 1, .kernelParams = args };
    OK(cuGraphAddKernelNode(&node, g, after, n, &k));
    return node;
}
static CUgraphNode set(CUgraph g, const CUgraphNode *after, size_t n, CUdeviceptr p, unsigned v) {
    CUgraphNode node;
    CUDA_MEMSET_NODE_PARAMS m = { .dst = p, .value = v, .elementSize = 4, .width = 4, .height = 1 };
    OK(cuGraphAddMemsetNode(&node, g, after, n, &m, context()));
    return node;
}
static CUgraphNode empty(CUgraph g, const CUgraphNode *after, size_t n) { CUgraphNode node; OK(cuGraphAddEmptyNode(&node, g, after, n)); return node; }

BEHAVIOUR(graph_flags_must_be_zero, GRAPHS) { CUgraph g; begin(); WANT(cuGraphCreate(&g, 1), CUDA_ERROR_INVALID_VALUE); }
BEHAVIOUR(an_empty_graph_launches, GRAPHS) { begin(); run(graph()); }
BEHAVIOUR(kernel_node_runs, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); fill(g, NULL, 0, p, 5); run(g); CHECK(read_word(p) == 5); }
BEHAVIOUR(memset_node_runs, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); set(g, NULL, 0, p, 6); run(g); CHECK(read_word(p) == 6); }
BEHAVIOUR(memcpy_node_runs, GRAPHS) {
    CUgraphNode n;
    begin();
    CUdeviceptr p = alloc(64), q = alloc(64);
    OK(cuMemsetD32(p, 9, 16));
    OK(cuCtxSynchronize());
    CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = p, .srcPitch = 64, .srcHeight = 1, .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = q,
                        .dstPitch = 64, .dstHeight = 1, .WidthInBytes = 64, .Height = 1, .Depth = 1 };
    CUgraph g = graph();
    OK(cuGraphAddMemcpyNode(&n, g, NULL, 0, &c, context()));
    run(g);
    CHECK(read_word(q) == 9);
}
static void CUDA_CB count(void *n) { ++*(_Atomic int *)n; }
BEHAVIOUR(host_node_runs_each_launch, GRAPHS) { _Atomic int n = 0; CUgraphNode node; begin(); CUgraph g = graph(); CUDA_HOST_NODE_PARAMS h = { count, (void *)&n }; OK(cuGraphAddHostNode(&node, g, NULL, 0, &h)); CUgraphExec x = instance(g); CUstream s = stream(); OK(cuGraphLaunch(x, s)); OK(cuGraphLaunch(x, s)); OK(cuStreamSynchronize(s)); CHECK(n == 2); }
BEHAVIOUR(dependencies_are_kept, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); CUgraphNode a = fill(g, NULL, 0, p, 1), b = set(g, &a, 1, p, 2); fill(g, &b, 1, p, 3); run(g); CHECK(read_word(p) == 3); }
BEHAVIOUR(late_dependencies_are_kept, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); CUgraphNode b = fill(g, NULL, 0, p, 2), a = set(g, NULL, 0, p, 1); OK(cuGraphAddDependencies(g, &a, &b, NULL, 1)); run(g); CHECK(read_word(p) == 2); }
BEHAVIOUR(child_graph_runs, GRAPHS) { CUgraphNode n; begin(); CUdeviceptr p = alloc(64); CUgraph c = graph(), g = graph(); fill(c, NULL, 0, p, 4); OK(cuGraphAddChildGraphNode(&n, g, NULL, 0, c)); OK(cuGraphDestroy(c)); run(g); CHECK(read_word(p) == 4); }
BEHAVIOUR(event_record_node_records, GRAPHS) { CUgraphNode n; CUevent e; begin(); OK(cuEventCreate(&e, 0)); CUgraph g = graph(); OK(cuGraphAddEventRecordNode(&n, g, NULL, 0, e)); run(g); OK(cuEventQuery(e)); }
BEHAVIOUR(graph_may_be_destroyed_after_instantiation, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); fill(g, NULL, 0, p, 5); CUgraphExec x = instance(g); OK(cuGraphDestroy(g)); CUstream s = stream(); OK(cuGraphLaunch(x, s)); OK(cuStreamSynchronize(s)); CHECK(read_word(p) == 5); }
BEHAVIOUR(parameters_are_copied_when_the_node_is_made, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); fill(g, NULL, 0, p, 7); memset((char[4096]){ 0 }, 0xee, 4096); run(g); CHECK(read_word(p) == 7); }
BEHAVIOUR(launches_of_one_exec_are_ordered, GRAPHS) {
    CUgraphNode n;
    begin();
    CUdeviceptr p = alloc(64);
    OK(cuMemsetD32(p, 0, 4));
    OK(cuCtxSynchronize());
    unsigned words = 1;
    void *args[] = { &p, &words };
    CUDA_KERNEL_NODE_PARAMS k = { .func = kernel("add"), .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 1, .blockDimY = 1, .blockDimZ = 1, .kernelParams = args };
    CUgraph g = graph();
    OK(cuGraphAddKernelNode(&n, g, NULL, 0, &k));
    CUgraphExec x = instance(g);
    CUstream s = stream();
    for (int i = 0; i < 20; i++) OK(cuGraphLaunch(x, s));
    CHECK(read_word(p) == 20);
}
BEHAVIOUR(nodes_are_listed, GRAPHS) { CUgraphNode list[4]; size_t n = 4; begin(); CUgraph g = graph(); CUgraphNode a = empty(g, NULL, 0); empty(g, &a, 1); OK(cuGraphGetNodes(g, list, &n)); CHECK(n == 2 && list[2] == NULL); n = 0; OK(cuGraphGetNodes(g, NULL, &n)); CHECK(n == 2); }
BEHAVIOUR(root_nodes_are_listed, GRAPHS) { size_t n = 0; begin(); CUgraph g = graph(); CUgraphNode a = empty(g, NULL, 0); empty(g, &a, 1); OK(cuGraphGetRootNodes(g, NULL, &n)); CHECK(n == 1); }
BEHAVIOUR(edges_are_listed, GRAPHS) { CUgraphNode f[2], t[2]; size_t n = 2; begin(); CUgraph g = graph(); CUgraphNode a = empty(g, NULL, 0), b = empty(g, &a, 1); OK(cuGraphGetEdges(g, f, t, NULL, &n)); CHECK(n == 1 && f[0] == a && t[0] == b); }
BEHAVIOUR(node_types_are_told, GRAPHS) { CUgraphNodeType t; begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); OK(cuGraphNodeGetType(fill(g, NULL, 0, p, 1), &t)); CHECK(t == CU_GRAPH_NODE_TYPE_KERNEL); OK(cuGraphNodeGetType(set(g, NULL, 0, p, 1), &t)); CHECK(t == CU_GRAPH_NODE_TYPE_MEMSET); OK(cuGraphNodeGetType(empty(g, NULL, 0), &t)); CHECK(t == CU_GRAPH_NODE_TYPE_EMPTY); }
BEHAVIOUR(kernel_parameters_can_be_read, GRAPHS) { CUDA_KERNEL_NODE_PARAMS k; begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); OK(cuGraphKernelNodeGetParams(fill(g, NULL, 0, p, 0x21), &k)); CHECK(k.func == kernel("fill") && k.gridDimX == 1 && *(CUdeviceptr *)k.kernelParams[0] == p && *(unsigned *)k.kernelParams[1] == 0x21); }
BEHAVIOUR(exec_memset_parameters_can_change, GRAPHS) { begin(); CUdeviceptr p = alloc(64); CUgraph g = graph(); CUgraphNode n = set(g, NULL, 0, p, 1); CUgraphExec x = instance(g); CUDA_MEMSET_NODE_PARAMS m = { .dst = p, .value = 2, .elementSize = 4, .width = 4, .height = 1 }; OK(cuGraphExecMemsetNodeSetParams(x, n, &m, context())); CUstream s = stream(); OK(cuGraphLaunch(x, s)); CHECK(read_word(p) == 2); }
BEHAVIOUR(exec_update_takes_new_parameters, GRAPHS) {
    CUgraphExecUpdateResultInfo info;
    begin();
    CUdeviceptr p = alloc(64);
    CUgraph g = graph(), h = graph();
    fill(g, NULL, 0, p, 1);
    fill(h, NULL, 0, p, 2);
    CUgraphExec x = instance(g);
    OK(cuGraphExecUpdate(x, h, &info));
    CHECK(info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS);
    OK(cuGraphLaunch(x, stream()));
    CHECK(read_word(p) == 2);
}
BEHAVIOUR(exec_update_refuses_another_shape, GRAPHS) {
    CUgraphExecUpdateResultInfo info;
    begin();
    CUdeviceptr p = alloc(64);
    CUgraph g = graph(), h = graph();
    fill(g, NULL, 0, p, 1);
    CUgraphNode a = fill(h, NULL, 0, p, 2);
    fill(h, &a, 1, p, 3);
    WANT(cuGraphExecUpdate(instance(g), h, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    CHECK(info.result != CU_GRAPH_EXEC_UPDATE_SUCCESS);
}
BEHAVIOUR(disabled_nodes_do_nothing, GRAPHS) { unsigned on = 9; begin(); CUdeviceptr p = alloc(64); OK(cuMemsetD32(p, 1, 4)); OK(cuCtxSynchronize()); CUgraph g = graph(); CUgraphNode n = fill(g, NULL, 0, p, 2); CUgraphExec x = instance(g); OK(cuGraphNodeSetEnabled(x, n, 0)); OK(cuGraphNodeGetEnabled(x, n, &on)); CHECK(on == 0); OK(cuGraphLaunch(x, stream())); CHECK(read_word(p) == 1); }
BEHAVIOUR(clone_finds_its_nodes, GRAPHS) { CUgraph c; CUgraphNode m; begin(); CUgraph g = graph(); CUgraphNode n = empty(g, NULL, 0); OK(cuGraphClone(&c, g)); OK(cuGraphNodeFindInClone(&m, n, c)); CHECK(m != n); }
BEHAVIOUR(destroyed_node_is_gone, GRAPHS) { size_t n = 9; begin(); CUgraph g = graph(); OK(cuGraphDestroyNode(empty(g, NULL, 0))); OK(cuGraphGetNodes(g, NULL, &n)); CHECK(n == 0); }
BEHAVIOUR(a_cycle_is_not_instantiated, GRAPHS) { CUgraphExec x; begin(); CUgraph g = graph(); CUgraphNode a = empty(g, NULL, 0), b = empty(g, &a, 1); CUresult r = cuGraphAddDependencies(g, &b, &a, NULL, 1); if (r == CUDA_SUCCESS) FAILS(cuGraphInstantiate(&x, g, 0)); }
BEHAVIOUR(a_captured_graph_replays, GRAPHS) {
    CUgraph g;
    begin();
    CUdeviceptr p = alloc(64), q = alloc(64);
    kernels();
    CUstream s = stream();
    OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemcpyDtoDAsync(q, p, 64, s));
    OK(cuStreamEndCapture(s, &g));
    CUgraphExec x = instance(g);
    for (unsigned i = 1; i < 4; i++) {
        OK(cuMemsetD32Async(p, i, 16, s));
        OK(cuGraphLaunch(x, s));
        CHECK(read_word(q) == i);
    }
}
BEHAVIOUR(upload_is_allowed, GRAPHS) { begin(); CUgraph g = graph(); empty(g, NULL, 0); OK(cuGraphUpload(instance(g), stream())); }
