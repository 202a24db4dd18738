// env: SIM_DEVICES=2
// env: SIM_CAPACITY=768M
// env: COPPICE_POOL_MAX=192M
// env: COPPICE_PRESSURE=1
/* 16 threads, 64 streams, 4 contexts on 2 devices and a second process take, fill (by a fill, a copy, a kernel), free, capture,
 * share by IPC handle and run out of memory at once, while the simulated device runs its streams at random speeds: every
 * byte that is read back is the one that was written last. Now and then all stand still: then our live and reserved bytes
 * are the test's and the device's own; at the end the peak is too. Peaks are compared when one thread alone has raised
 * them beyond what all had reached: of two driver calls that overlap nobody can say which the device counted first. argv: seed seconds */
#include "cuda_test.h"
#include <sys/socket.h>
#include <time.h>

enum { THREADS = 16, CONTEXTS = 4, HELD = 10, SMALL = 64 << 10, LARGE = 160 << 20, EDGE = 4096, PASSED_ON = 32 };
static CUcontext context[CONTEXTS];
static const int device_of[CONTEXTS] = { 0, 0, 0, 1 };
static CUfunction kernel[CONTEXTS];
static unsigned long seed = 1;
static double seconds = 12;
static _Atomic long operations, live[2], out_of_memory, shared, captured;
static _Atomic bool stop, meet;
static pthread_barrier_t barrier;

struct held { CUdeviceptr p; size_t size; int where; CUstream stream; unsigned char value; };
struct worker { unsigned long random; struct held held[HELD]; CUstream stream[CONTEXTS]; unsigned char value; };

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + (double)t.tv_nsec * 1e-9; }
static unsigned long dice(struct worker *w, unsigned long sides) {
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return w->random / 7 % sides;
}
static void enter(int where) { OK(p_cuCtxSetCurrent(context[where])); }
/* What is written and looked at: all of a small block, both ends of a large one. */
static size_t edge(const struct held *h) { return h->size <= SMALL ? h->size : EDGE; }
static CUdeviceptr tail(const struct held *h) { return h->p + h->size - edge(h); }

/* --- contents */
static const char ptx[] = ".version 6.0\n.target sm_50\n.address_size 64\n"
    ".visible .entry put(.param .u64 put_p, .param .u32 put_v, .param .u32 put_n)\n{\n ret;\n}\n";
static void put(const struct simctl_launch *l) {
    unsigned n = *(unsigned *)l->params[2];
    unsigned char *p = p_simctl_touch(*(uint64_t *)l->params[0], n, true);
    if (p) memset(p, (int)*(unsigned *)l->params[1], n);
}
static void launch(const struct held *h, CUdeviceptr at) {
    unsigned value = h->value, n = (unsigned)edge(h);
    void *arguments[] = { &at, &value, &n };
    OK(p_cuLaunchKernel(kernel[h->where], 1, 1, 1, 32, 1, 1, 0, h->stream, arguments, NULL));
}
static void write_all(struct worker *w, struct held *h) {
    unsigned char bytes[256];
    h->value = w->value++;
    switch (dice(w, 3)) {
    case 0:
        fill(h->p, h->value, edge(h), h->stream), fill(tail(h), h->value, edge(h), h->stream);
        break;
    case 1:
        launch(h, h->p), launch(h, tail(h));
        break;
    default: /* doubles what it has by copies within the block */
        memset(bytes, h->value, sizeof bytes);
        OK(p_cuMemcpyHtoDAsync_v2(h->p, bytes, edge(h) < sizeof bytes ? edge(h) : sizeof bytes, h->stream));
        for (size_t n = sizeof bytes; n < edge(h); n *= 2)
            OK(p_cuMemcpyDtoDAsync_v2(h->p + n, h->p, edge(h) - n < n ? edge(h) - n : n, h->stream));
        if (tail(h) >= h->p + edge(h)) OK(p_cuMemcpyDtoDAsync_v2(tail(h), h->p, edge(h), h->stream));
    }
}
static void look(const struct held *h) {
    OK(p_cuStreamSynchronize(h->stream));
    expect_bytes(h->p, h->value, edge(h), h->stream, "a held block");
    expect_bytes(tail(h), h->value, edge(h), h->stream, "the end of a held block");
}

/* --- blocks that others free, with whatever context is current there */
static pthread_mutex_t passing = PTHREAD_MUTEX_INITIALIZER;
static struct held passed_on[PASSED_ON];
static void release(const struct held *h) {
    give(h->p);
    atomic_fetch_sub(&live[device_of[h->where]], (long)h->size);
}
static void pass_on(struct worker *w, struct held *h) {
    pthread_mutex_lock(&passing);
    struct held *slot = &passed_on[dice(w, PASSED_ON)], other = *slot;
    *slot = *h;
    pthread_mutex_unlock(&passing);
    if (other.p) release(&other);
}

/* --- the second process: opens what it is sent, reads it, and takes and frees on the same devices itself */
struct letter { CUipcMemHandle handle; size_t size; int device; unsigned char value; };
static int peer_socket;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static int peer(int socket) {
    struct letter l;
    start();
    for (int d = 0; d < 2; d++) OK(p_cuDevicePrimaryCtxRetain(&context[d], d));
    while (read(socket, &l, sizeof l) == sizeof l) {
        CUdeviceptr p = 0, own = 0;
        enter(l.device);
        if (p_cuMemAlloc_v2(&own, l.size) == CUDA_SUCCESS) fill(own, 0x99, l.size, NULL);
        OK(p_cuIpcOpenMemHandle_v2(&p, l.handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
        expect_bytes(p, l.value, l.size, NULL, "a block of the other process");
        OK(p_cuIpcCloseMemHandle(p));
        if (own) give(own);
        if (write(socket, "", 1) != 1) break;
    }
    return 0;
}
static void share(struct worker *w, struct held *h) {
    struct letter l = { .size = h->size, .device = device_of[h->where], .value = h->value };
    char answer;
    (void)w;
    OK(p_cuStreamSynchronize(h->stream));
    CUresult exported = p_cuIpcGetMemHandle(&l.handle, h->p);
    CHECK(exported == CUDA_SUCCESS, "an export answered %d", (int)exported);
    pthread_mutex_lock(&writing);
    CHECK(write(peer_socket, &l, sizeof l) == sizeof l && read(peer_socket, &answer, 1) == 1, "the second process is gone");
    pthread_mutex_unlock(&writing);
    atomic_fetch_add(&shared, 1);
}

/* A graph that writes the block, launched twice; in relaxed mode memory may be taken and freed while it is captured. */
static void capture(struct worker *w, struct held *h) {
    CUgraph graph = NULL;
    CUgraphExec ready;
    bool relaxed = dice(w, 2);
    CUstream stream;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamSynchronize(h->stream));
    OK(p_cuStreamBeginCapture_v2(stream, relaxed ? CU_STREAM_CAPTURE_MODE_RELAXED : CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    h->value = w->value++;
    fill(h->p, h->value, edge(h), stream), fill(tail(h), h->value, edge(h), stream);
    CUdeviceptr p;
    if (relaxed && p_cuMemAlloc_v2(&p, 4096) == CUDA_SUCCESS) give(p);
    OK(p_cuStreamEndCapture(stream, &graph));
    OK(p_cuGraphInstantiateWithFlags(&ready, graph, 0));
    for (int i = 0; i < 2; i++) OK(p_cuGraphLaunch(ready, h->stream));
    OK(p_cuStreamSynchronize(h->stream));
    OK(p_cuGraphExecDestroy(ready));
    OK(p_cuGraphDestroy(graph));
    OK(p_cuStreamDestroy_v2(stream));
    atomic_fetch_add(&captured, 1);
}

/* --- one step of a thread */
static CUstream new_stream(struct worker *w) {
    CUstream s;
    OK(p_cuStreamCreateWithPriority(&s, dice(w, 4) ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT, -(int)dice(w, 3)));
    return s;
}
static size_t some_size(struct worker *w) {
    switch (dice(w, 16)) {
    case 0: return dice(w, LARGE) + 1;
    case 1: case 2: case 3: return dice(w, SMALL) + 1;
    default: return (dice(w, 8) + 1) * 512;
    }
}
static void take_one(struct worker *w, struct held *h) {
    int where = (int)dice(w, CONTEXTS);
    enter(where);
    *h = (struct held){ .size = some_size(w), .where = where, .stream = w->stream[where] };
    if (dice(w, 8) == 0) h->stream = dice(w, 2) ? CU_STREAM_LEGACY : CU_STREAM_PER_THREAD;
    CUresult answer = p_cuMemAlloc_v2(&h->p, h->size);
    if (answer == CUDA_ERROR_OUT_OF_MEMORY) {
        h->p = 0;
        atomic_fetch_add(&out_of_memory, 1);
        return;
    }
    CHECK(answer == CUDA_SUCCESS, "an allocation answered %d", (int)answer);
    atomic_fetch_add(&live[device_of[where]], (long)h->size);
    write_all(w, h);
}
static void step(struct worker *w) {
    struct held *h = &w->held[dice(w, HELD)];
    if (h->p) {
        enter(h->where);
        unsigned long what = dice(w, 64);
        if (what < 8) look(h);
        else if (what == 8 && h->size <= SMALL) share(w, h);
        else if (what == 9) capture(w, h);
        else if (what < 14) write_all(w, h);
        if (dice(w, 4) == 0) enter((int)dice(w, CONTEXTS));
        if (dice(w, 4) == 0) pass_on(w, h);
        else release(h);
        h->p = 0;
    }
    if (dice(w, 5)) take_one(w, h);
    if (dice(w, 200) == 0) { /* its work goes on */
        int where = (int)dice(w, CONTEXTS);
        for (int i = 0; i < HELD; i++)
            if (w->held[i].p && w->held[i].stream == w->stream[where]) OK(p_cuStreamSynchronize(w->stream[where]));
        enter(where);
        OK(p_cuStreamDestroy_v2(w->stream[where]));
        CUstream old = w->stream[where];
        w->stream[where] = new_stream(w);
        for (int i = 0; i < HELD; i++)
            if (w->held[i].p && w->held[i].stream == old) w->held[i].stream = w->stream[where];
    }
    atomic_fetch_add(&operations, 1);
}

/* --- all stand still: whose numbers are they? */
static void numbers_agree(void) {
    char wrong[256] = "";
    for (int attempt = 0; attempt < 40; attempt++) { /* the service thread may give something back just now */
        struct simctl_device before[2] = { own_truth(0), own_truth(1) };
        const char *text = stat_json();
        wrong[0] = 0;
        for (int d = 0; d < 2; d++) {
            double ours_live = stat_sum(text, "live_bytes", d), ours = stat_sum(text, "reserved_bytes", d);
            if ((double)before[d].live != ours || (double)live[d] != ours_live ||
                ours != ours_live + stat_sum(text, "rounding_bytes", d) + stat_sum(text, "cached_bytes", d))
                snprintf(wrong, sizeof wrong, "device %d: reserved %.0f, the driver says %lu; live %.0f, the test says %ld", d, ours,
                         (unsigned long)before[d].live, ours_live, (long)live[d]);
        }
        if (!wrong[0]) return;
        usleep(50000);
    }
    FAIL("%s", wrong);
}
static void quiescent_point(struct worker *w, bool checks) {
    for (int c = 0; c < CONTEXTS; c++) OK(p_cuStreamSynchronize(w->stream[c]));
    pthread_barrier_wait(&barrier);
    if (checks) numbers_agree(), atomic_store(&meet, false);
    pthread_barrier_wait(&barrier);
}

static void *work(void *number) {
    struct worker w = { .random = (seed + 1) * 0x9e3779b97f4a7c15ul + (unsigned long)number * 0x2545f4914f6cdd1dul + 1 };
    w.value = (unsigned char)((long)number * 16 + 1);
    for (int c = 0; c < CONTEXTS; c++) enter(c), w.stream[c] = new_stream(&w);
    while (!atomic_load(&stop)) {
        step(&w);
        if (atomic_load(&meet)) quiescent_point(&w, number == 0);
    }
    for (int i = 0; i < HELD; i++)
        if (w.held[i].p) enter(w.held[i].where), look(&w.held[i]), release(&w.held[i]);
    for (int c = 0; c < CONTEXTS; c++) OK(p_cuStreamSynchronize(w.stream[c]));
    return NULL;
}

/* One thread alone raises the peak of the device with one context: both counts must see the same. */
static void peaks_agree(void) {
    enum { BLOCK = 8 << 20, MOST = 200 };
    static CUdeviceptr p[MOST];
    int n = 0;
    enter(3);
    double ours = stat_sum(stat_json(), "peak_reserved_bytes", 1), theirs = (double)own_truth(1).peak_live, before = ours > theirs ? ours : theirs;
    while (n < MOST && (double)own_truth(1).live <= before + BLOCK && p_cuMemAlloc_v2(&p[n], BLOCK) == CUDA_SUCCESS) n++;
    struct simctl_device device = own_truth(1);
    if ((double)device.live > before)
        CHECK((double)device.peak_live == stat_sum(stat_json(), "peak_reserved_bytes", 1), "device's peak %lu, ours %.0f",
              (unsigned long)device.peak_live, stat_sum(stat_json(), "peak_reserved_bytes", 1));
    while (n > 0) give(p[--n]);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "peer") == 0) return peer(atoi(argv[2]));
    if (argc > 1) seed = strtoul(argv[1], NULL, 10);
    if (argc > 2) seconds = atof(argv[2]);
    if (!getenv("SIM_SEED")) setenv("SIM_SEED", argc > 1 ? argv[1] : "11", 1);
    int ends[2];
    char number[16];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    snprintf(number, sizeof number, "%d", ends[1]);
    pid_t child = fork();
    if (child == 0) close(ends[0]), execl(argv[0], argv[0], "peer", number, NULL), _exit(127);
    close(ends[1]);
    peer_socket = ends[0];
    start();
    need_simulator();
    p_simctl_register_twin("put", put);
    context[0] = test_context;
    OK(p_cuCtxCreate_v2(&context[1], 0, 0));
    OK(p_cuCtxCreate_v2(&context[2], 0, 0));
    OK(p_cuDevicePrimaryCtxRetain(&context[3], 1));
    for (int c = 0; c < CONTEXTS; c++) {
        CUmodule module;
        enter(c);
        OK(p_cuModuleLoadData(&module, ptx));
        OK(p_cuModuleGetFunction(&kernel[c], module, "put"));
    }
    pthread_t thread[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, work, (void *)i);
    for (double end = now() + seconds; now() < end;) {
        usleep(700000);
        atomic_store(&meet, true);
        while (atomic_load(&meet)) usleep(1000);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < PASSED_ON; i++)
        if (passed_on[i].p) release(&passed_on[i]);
    for (int c = 0; c < CONTEXTS; c++) {
        enter(c);
        OK(p_cuCtxSynchronize());
    }
    numbers_agree();
    peaks_agree();
    int status;
    close(peer_socket);
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the second process ended with %d", status);
    printf("%ld operations, %ld out of memory, %ld shared, %ld captured\n", (long)operations, (long)out_of_memory, (long)shared, (long)captured);
    return 0;
}
