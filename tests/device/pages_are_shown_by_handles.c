// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_DEVICES=2
/* Legacy IPC of memory made of pages between processes that run Coppice, with the driver's own semantics: a handle names the whole
 * allocation, the same each time; what one side writes the other reads, also at an offset from the base; opening counts; the exporter
 * cannot open its own; flags are checked; an importer may use the other backend. Without Coppice the driver's own error is answered. */
#include "ipc_test.h"
enum { LARGE = (5 << 20) + 4096, SMALL = 3000 };

static void shows_blocks(CUdeviceptr large, CUdeviceptr small) {
    CUipcMemHandle a = handle_of(large), b = handle_of(large + 70000), c = handle_of(small);
    CUdeviceptr q;
    unsigned capable = 0;
    CHECK(memcmp(&a, &b, sizeof a) == 0, "a block has two handles");
    CHECK(memcmp(&a, &c, sizeof a) != 0, "two blocks have one handle");
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, p_cuIpcOpenMemHandle_v2(&q, a, LAZY));
    OK(p_cuPointerGetAttribute(&capable, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, small));
    CHECK(capable == 1);
    CUipcMemHandle none;
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuIpcGetMemHandle(NULL, large));
    CUdeviceptr gone = take(4 << 20);
    give(gone);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuIpcGetMemHandle(&none, gone));
    CHECK(stat_number("exports_served") == 2 && stat_number("exports_refused") == 0);
}

static void opens_and_writes(char *self, const char *setting, CUdeviceptr large, CUdeviceptr small) {
    struct other o = begin(self, setting);
    OK(p_cuMemsetD8_v2(large, 1, LARGE)); OK(p_cuMemsetD8_v2(small, 2, SMALL)); OK(p_cuCtxSynchronize());
    CUdeviceptr p = TOLD(&o, OPEN, handle_of(large)).at, q = TOLD(&o, OPEN, handle_of(small + 100)).at;
    CHECK(p && q && p != q);
    TOLD_OK(&o, HOLDS, .at = p, .size = LARGE, .value = 1);
    TOLD_OK(&o, HOLDS, .at = q, .size = SMALL, .value = 2);
    TOLD_OK(&o, FILL, .at = p + (3 << 20) + 512, .size = 4096, .value = 3);
    TOLD_OK(&o, FILL, .at = q + 1000, .size = 8, .value = 4);
    CHECK(all_are(large, 1, (3 << 20) + 512) && all_are(large + (3 << 20) + 512, 3, 4096) && all_are(large + (3 << 20) + 4608, 1, LARGE - (3 << 20) - 4608));
    CHECK(all_are(small, 2, 1000) && all_are(small + 1000, 4, 8) && all_are(small + 1008, 2, SMALL - 1008));
    fill(large + 1024, 5, 512, NULL); OK(p_cuCtxSynchronize());
    TOLD_OK(&o, HOLDS, .at = p + 1024, .size = 512, .value = 5);
    struct answer range = TOLD(&o, RANGE, .at = p + 12345);
    CHECK(range.result == CUDA_SUCCESS && range.at == p && range.size == LARGE);
    range = TOLD(&o, RANGE, .at = q + 1);
    CHECK(range.result == CUDA_SUCCESS && range.at == q && range.size == SMALL);
    CHECK(TOLD(&o, FREE, .at = p).result != CUDA_SUCCESS, "memory of another process was freed");
    CHECK(TOLD(&o, OPEN, handle_of(large)).at == p, "a handle that is open already has another address");
    TOLD_OK(&o, CLOSE, .at = p);
    TOLD_OK(&o, HOLDS, .at = p + 2048, .size = 512, .value = 1);
    TOLD_OK(&o, CLOSE, .at = p);
    EXPECT(CUDA_ERROR_NOT_FOUND, TOLD(&o, RANGE, .at = p + 2048).result); /* by the driver: it is mapped no more */
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&o, CLOSE, .at = p).result);
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&o, CLOSE, .at = q + 4).result);
    CHECK(TOLD(&o, NUMBER, .field = "imports_opened").number == 3 && TOLD(&o, NUMBER, .field = "imports_refused").number == 0);
    TOLD_OK(&o, HOLDS, .at = q + 8, .size = 100, .value = 2);
    end(&o); /* with one open */
}

static void is_refused(char *self, CUdeviceptr p) {
    struct other o = begin(self, NULL), without = begin(self, "COPPICE_DISABLE=1");
    CUipcMemHandle h = handle_of(p), bad = h;
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&o, OPEN, h, .value = 2).result);
    memset(bad.reserved + 40, 0xff, 16); /* lead and size */
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&o, OPEN, bad).result);
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&without, OPEN, h).result); /* the simulated driver's answer to what it does not know */
    end(&o), end(&without);
}

/* Nothing is unmapped while a stream captures; what was closed then can be opened again, or goes later. */
static void closes_in_a_capture(char *self, CUdeviceptr p) {
    struct other o = begin(self, NULL);
    OK(p_cuMemsetD8_v2(p, 9, LARGE)); OK(p_cuCtxSynchronize());
    CUdeviceptr other = take_filled(SMALL, 8), at = TOLD(&o, OPEN, handle_of(p)).at;
    TOLD_OK(&o, CLOSE_IN_CAPTURE, .at = at);
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&o, CLOSE, .at = at).result);
    at = TOLD(&o, OPEN, handle_of(p)).at;
    TOLD_OK(&o, HOLDS, .at = at, .size = LARGE, .value = 9);
    TOLD_OK(&o, CLOSE_IN_CAPTURE, .at = at);
    CUdeviceptr next = TOLD(&o, OPEN, handle_of(other)).at;
    TOLD_OK(&o, HOLDS, .at = next, .size = SMALL, .value = 8);
    EXPECT(CUDA_ERROR_NOT_FOUND, TOLD(&o, RANGE, .at = at + LARGE - 1).result); /* the small one may lie at its beginning */
    end(&o);
    give(other);
}

/* Peers of the importer's context reach what it has open, and what it opens later. */
static void peers_reach_it(char *self, const char *setting, CUdeviceptr large, CUdeviceptr small) {
    struct other o = begin(self, setting);
    CUdeviceptr p = TOLD(&o, OPEN, handle_of(large)).at;
    CHECK(TOLD(&o, ACCESS, .at = p, .value = 0).size == CU_MEM_ACCESS_FLAGS_PROT_READWRITE && TOLD(&o, ACCESS, .at = p, .value = 1).size == 0);
    TOLD_OK(&o, PEER);
    CUdeviceptr q = TOLD(&o, OPEN, handle_of(small)).at;
    for (int device = 0; device < 2; device++) {
        CHECK(TOLD(&o, ACCESS, .at = p + LARGE - 1, .value = device).size == CU_MEM_ACCESS_FLAGS_PROT_READWRITE, "device %d", device);
        CHECK(TOLD(&o, ACCESS, .at = q, .value = device).size == CU_MEM_ACCESS_FLAGS_PROT_READWRITE, "device %d", device);
    }
    end(&o);
}

/* A fork's child that has not called exec, and whose counters may be its parent's still, is a process of its own. */
static struct other fork_another(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    pid_t pid = fork();
    if (pid == 0) close(ends[0]), exit(be_another(ends[1]));
    close(ends[1]);
    return (struct other){ pid, ends[0] };
}
static void forks_are_others(struct other *o, CUdeviceptr mine) {
    CUdeviceptr theirs = TOLD(o, TAKE, .size = LARGE).at, p;
    TOLD_OK(o, FILL, .at = theirs, .size = LARGE, .value = 0x31);
    struct answer shown = TOLD(o, SHOW, .at = theirs);
    OK(shown.result);
    OK(p_cuIpcOpenMemHandle_v2(&p, shown.handle, LAZY));
    CHECK(all_are(p, 0x31, LARGE));
    OK(p_cuMemsetD8_v2(mine, 0x32, LARGE));
    OK(p_cuCtxSynchronize());
    TOLD_OK(o, HOLDS, .at = TOLD(o, OPEN, handle_of(mine)).at, .size = LARGE, .value = 0x32);
    OK(p_cuIpcCloseMemHandle(p));
    end(o);
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another(atoi(argv[1]));
    struct other forked = fork_another();
    start();
    need_simulator();
    CUdeviceptr before = take(700), large = take(LARGE), small = take(SMALL), after = take(700);
    shows_blocks(large, small);
    opens_and_writes(argv[0], NULL, large, small);
    opens_and_writes(argv[0], "COPPICE_DEVICE_BACKEND=block", large, small);
    forks_are_others(&forked, large);
    is_refused(argv[0], large);
    peers_reach_it(argv[0], NULL, large, small);
    peers_reach_it(argv[0], "COPPICE_DEVICE_BACKEND=block", large, small);
    closes_in_a_capture(argv[0], large);
    give(before), give(large), give(small), give(after);
    CHECK(stat_number("live_bytes") == 0);
    nothing_is_left_of_others();
    return 0;
}
