// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Whoever writes weights that another process has too, by whatever call of the driver, gets a page of his own first: what he wrote
 * is there, what he did not write is as it was, and the other process never sees any of it. */
#include "weights_test.h"
enum { SIZE = 10 << 20, PAGES = 5, PART = 4096, WHERE = 70000 };
static unsigned char source[PART];
static struct other a;
static double copies;

struct way { const char *name; void (*write)(CUdeviceptr at); size_t pages; /* that have a copy afterwards */ };
static void by_upload(CUdeviceptr at) { OK(CALL(cuMemcpyHtoD_v2)(at, source, PART)); }
static void by_asynchronous_upload(CUdeviceptr at) { OK(p_cuMemcpyHtoDAsync_v2(at, source, PART, NULL)); }
static void by_an_address(CUdeviceptr at) { OK(CALL(cuMemcpy)(at, (CUdeviceptr)(uintptr_t)source, PART)); }
static void by_fill(CUdeviceptr at) { OK(p_cuMemsetD8_v2(at, 0x55, PART)); }
static void by_words(CUdeviceptr at) { OK(CALL(cuMemsetD32_v2)(at, 0x55555555, PART / 4)); }
static void by_rows(CUdeviceptr at) { OK(CALL(cuMemsetD2D8_v2)(at, PART / 4, 0x55, PART / 4, 4)); }
static void by_device(CUdeviceptr at) {
    CUdeviceptr from = take(PART);
    OK(p_cuMemsetD8_v2(from, 0x55, PART));
    OK(CALL(cuMemcpyDtoD_v2)(at, from, PART));
    give(from);
}
static void by_plane(CUdeviceptr at) {
    CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = source, .srcPitch = PART / 4, .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = at, .dstPitch = PART / 4, .WidthInBytes = PART / 4, .Height = 4 };
    OK(CALL(cuMemcpy2D_v2)(&c));
}
static void by_word(CUdeviceptr at) {
    CUstream stream;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (unsigned i = 0; i < PART / 4; i++) OK(CALL(cuStreamWriteValue32_v2)(stream, at + 4 * i, 0x55555555, 0));
    OK(p_cuStreamSynchronize(stream));
    OK(p_cuStreamDestroy_v2(stream));
}
static void run_once(CUgraph graph, CUstream stream) {
    CUgraphExec ready;
    OK(p_cuGraphInstantiateWithFlags(&ready, graph, 0));
    OK(p_cuGraphLaunch(ready, stream));
    OK(p_cuStreamSynchronize(stream));
    OK(p_cuGraphExecDestroy(ready));
    OK(p_cuGraphDestroy(graph));
}
static void by_capture(CUdeviceptr at) {
    CUstream stream;
    CUgraph graph;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(p_cuMemsetD8Async(at, 0x55, PART, stream));
    OK(p_cuStreamEndCapture(stream, &graph));
    run_once(graph, stream);
    OK(p_cuStreamDestroy_v2(stream));
}
static void by_node(CUdeviceptr at) {
    CUgraph graph;
    CUgraphNode node;
    CUDA_MEMSET_NODE_PARAMS fill = { .dst = at, .value = 0x55, .elementSize = 1, .width = PART, .height = 1 };
    OK(CALL(cuGraphCreate)(&graph, 0));
    OK(CALL(cuGraphAddMemsetNode)(&node, graph, NULL, 0, &fill, test_context));
    run_once(graph, CU_STREAM_PER_THREAD);
}

static void wrote(CUdeviceptr weights, const struct way *way, size_t at) {
    unsigned char *expected = contents(1, SIZE), *got = malloc(SIZE);
    memset(expected + at, 0x55, PART);
    OK(p_cuCtxSynchronize());
    OK(p_cuMemcpyDtoH_v2(got, weights, SIZE));
    for (size_t i = 0; i < SIZE; i++)
        if (got[i] != expected[i]) FAIL("%s: byte %zu is %#x, expected %#x", way->name, i, got[i], expected[i]);
    free(expected), free(got);
    CHECK(TOLD(&a, CHECK_IT, 1, SIZE) == 1, "%s: the other process sees it", way->name);
}

static void try(const struct way *way) {
    CUdeviceptr weights = take(SIZE);
    load(weights, 1, SIZE, 3 * MB);
    size_t before = taken_mb();
    CHECK(before == 10 + 2, "%zu MiB", before);
    way->write(weights + 2 * PAGE - WHERE % PART - 100); /* over the edge of a page */
    OK(p_cuCtxSynchronize());
    size_t at = 2 * PAGE - WHERE % PART - 100;
    wrote(weights, way, at);
    CHECK(taken_mb() == before + 2 * way->pages, "%s: %zu MiB taken, %zu before", way->name, taken_mb(), before);
    copies += (double)way->pages;
    give(weights);
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another();
    start();
    need_simulator();
    memset(source, 0x55, sizeof source);
    CUdeviceptr small = take(PART); /* the page that small blocks share */
    a = begin(argv[0]);
    CHECK(TOLD(&a, LOAD, 1, SIZE, 5 * MB) == 1);
    static const struct way ways[] = { { "an upload", by_upload, 2 }, { "an asynchronous upload", by_asynchronous_upload, 2 }, { "a copy by address", by_an_address, 2 },
        { "a fill", by_fill, 2 }, { "a fill by words", by_words, 2 }, { "a fill by rows", by_rows, 2 }, { "a copy within the device", by_device, 2 },
        { "a copy of a plane", by_plane, PAGES }, { "a stream's own write", by_word, 2 }, { "a captured graph", by_capture, 2 }, { "a graph's node", by_node, PAGES } };
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) try(&ways[i]);
    CHECK(weights_number("copied") == copies, "%g copies, of which %g are counted", copies, weights_number("copied"));
    /* the other way round */
    CUdeviceptr weights = take(SIZE);
    load(weights, 1, SIZE, 3 * MB);
    size_t before = taken_mb();
    CHECK(TOLD(&a, FILL_IT, .seed = 9, .at = 5 * MB, .size = 100) == 1 && holds(weights, 1, SIZE) && taken_mb() == before + 2);
    CHECK(TOLD(&a, NUMBER, 0) == 1);
    OK(p_cuMemsetD8_v2(weights, 0x33, SIZE)); /* all of it */
    expect_bytes(weights, 0x33, SIZE, NULL, "what was filled");
    CHECK(TOLD(&a, CHECK_IT, 1, 5 * MB) == 1);
    end(&a);
    expect_bytes(weights, 0x33, SIZE, NULL, "what was filled");
    give(small);
    return 0;
}
