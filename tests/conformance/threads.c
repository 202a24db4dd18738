/* threads.c: many host threads use one context at once; contents and numbers stay right. */
#include "conform.h"
#include <pthread.h>

enum { THREADS = 4 };
static CUcontext context;
static size_t before;

static unsigned roll(unsigned *state) { return *state = *state * 1664525u + 1013904223u; }

static void together(void *(*body)(void *)) {
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++) CHECK(pthread_create(&t[i], NULL, body, (void *)(i + 1)) == 0);
    for (size_t i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
}

static void start(void) {
    context = begin();
    kernels();
    OK(cuCtxSynchronize());
    before = free_memory();
}

static unsigned enter(void *arg, CUstream *s) {
    OK(cuCtxSetCurrent(context));
    OK(cuStreamCreate(s, CU_STREAM_NON_BLOCKING));
    return (unsigned)(size_t)arg;
}

static void *allocate_fill_check(void *arg) {
    CUstream s;
    CUdeviceptr p[16] = { 0 };
    unsigned state = enter(arg, &s), n[16], v[16];
    for (int round = 0; round < 400; round++) {
        unsigned i = roll(&state) >> 16 & 15;
        if (!p[i]) {
            n[i] = 4 * (1 + (roll(&state) >> 8) % (round % 10 ? 5000 : 800000));
            v[i] = roll(&state);
            OK(cuMemAlloc(&p[i], n[i]));
            OK(cuMemsetD32Async(p[i], v[i], n[i] / 4, s));
        } else {
            unsigned first = 0, last = 0;
            OK(cuMemcpyDtoHAsync(&first, p[i], 4, s));
            OK(cuMemcpyDtoHAsync(&last, p[i] + n[i] - 4, 4, s));
            OK(cuStreamSynchronize(s));
            CHECK(first == v[i] && last == v[i]);
            OK(cuMemFree(p[i]));
            p[i] = 0;
        }
    }
    for (int i = 0; i < 16; i++) OK(cuMemFree(p[i]));
    OK(cuStreamDestroy(s));
    return NULL;
}
BEHAVIOUR(allocations_keep_their_contents, MEM) { start(); together(allocate_fill_check); OK(cuCtxSynchronize()); if (simulated() && direct()) CHECK(free_memory() >= before); }

static void *asynchronous(void *arg) {
    CUstream s;
    unsigned state = enter(arg, &s);
    for (int round = 0; round < 300; round++) {
        CUdeviceptr p;
        unsigned v = roll(&state), seen = 0, n = 4 * (1 + (roll(&state) >> 8) % 60000);
        OK(cuMemAllocAsync(&p, n, s));
        OK(cuMemsetD32Async(p, v, n / 4, s));
        if (round % 4 == 0) {
            OK(cuMemcpyDtoHAsync(&seen, p + n - 4, 4, s));
            OK(cuStreamSynchronize(s));
            CHECK(seen == v);
        }
        OK(cuMemFreeAsync(p, s));
    }
    OK(cuStreamSynchronize(s));
    OK(cuStreamDestroy(s));
    return NULL;
}
BEHAVIOUR(stream_ordered_allocations_keep_their_contents, POOLS) { start(); together(asynchronous); OK(cuCtxSynchronize()); }

static CUdeviceptr shared;
static CUevent events[THREADS + 1];
static void *handing_on(void *arg) {
    CUstream s;
    unsigned me = enter(arg, &s);
    for (int round = 0; round < 200; round++) {
        OK(cuEventRecord(events[me], s));
        OK(cuStreamWaitEvent(s, events[me % THREADS + 1], 0));
        launch_fill(shared + 256 * me, me * 1000 + (unsigned)round, 16, s);
        (void)cuEventQuery(events[me % THREADS + 1]);
    }
    OK(cuStreamSynchronize(s));
    OK(cuStreamDestroy(s));
    return NULL;
}
BEHAVIOUR(events_are_shared_between_threads, EVENT) {
    start();
    OK(cuMemAlloc(&shared, 256 * (THREADS + 1)));
    for (int i = 0; i <= THREADS; i++) OK(cuEventCreate(&events[i], CU_EVENT_DISABLE_TIMING));
    together(handing_on);
    for (unsigned i = 1; i <= THREADS; i++) CHECK(read_word(shared + 256 * i) == i * 1000 + 199);
}

static void *capturing(void *arg) {
    CUstream s;
    CUdeviceptr p;
    unsigned me = enter(arg, &s);
    OK(cuMemAlloc(&p, 256));
    for (unsigned round = 1; round < 40; round++) {
        CUgraph g;
        CUgraphExec x;
        unsigned seen;
        OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        launch_fill(p, me * 1000 + round, 16, s);
        OK(cuMemcpyDtoDAsync(p + 128, p, 64, s));
        OK(cuStreamEndCapture(s, &g));
        OK(cuGraphInstantiate(&x, g, 0));
        OK(cuGraphDestroy(g));
        OK(cuGraphLaunch(x, s));
        OK(cuMemcpyDtoHAsync(&seen, p + 128, 4, s));
        OK(cuStreamSynchronize(s));
        CHECK(seen == me * 1000 + round);
        OK(cuGraphExecDestroy(x));
    }
    OK(cuMemFree(p));
    return NULL;
}
BEHAVIOUR(threads_capture_independently, STREAM) { start(); together(capturing); }

static void *mapping(void *arg) {
    CUstream s;
    unsigned state = enter(arg, &s);
    size_t g = granularity();
    for (int round = 0; round < 60; round++) {
        CUdeviceptr p;
        CUmemGenericAllocationHandle h[3];
        CUmemAllocationProp prop = pinned_on_device();
        CUmemAccessDesc a = read_write();
        unsigned v = roll(&state), seen;
        OK(cuMemAddressReserve(&p, 3 * g, 0, 0, 0));
        for (size_t i = 0; i < 3; i++) {
            OK(cuMemCreate(&h[i], g, &prop, 0));
            OK(cuMemMap(p + i * g, g, 0, h[i], 0));
            OK(cuMemRelease(h[i]));
        }
        OK(cuMemSetAccess(p, 3 * g, &a, 1));
        OK(cuMemsetD32Async(p + g - 8, v, 4, s));
        OK(cuMemcpyDtoHAsync(&seen, p + g + 4, 4, s));
        OK(cuStreamSynchronize(s));
        CHECK(seen == v);
        OK(cuMemUnmap(p, 3 * g));
        OK(cuMemAddressFree(p, 3 * g));
    }
    return NULL;
}
BEHAVIOUR(threads_map_independently, VMM) { start(); together(mapping); OK(cuCtxSynchronize()); if (simulated()) CHECK(free_memory() >= before); }

static void *legacy(void *arg) {
    CUstream s;
    CUdeviceptr p;
    unsigned me = (unsigned)(size_t)arg;
    OK(cuCtxSetCurrent(context));
    OK(cuStreamCreate(&s, CU_STREAM_DEFAULT));
    OK(cuMemAlloc(&p, 256));
    for (unsigned round = 0; round < 100; round++) {
        launch_fill(p, round, 16, s);
        launch_fill(p, round + 1, 16, NULL);
        unsigned seen;
        OK(cuMemcpyDtoH(&seen, p, 4));
        CHECK(seen == round + 1);
    }
    (void)me;
    OK(cuStreamDestroy(s));
    OK(cuMemFree(p));
    return NULL;
}
BEHAVIOUR(legacy_order_holds_among_threads, STREAMSYNC) { start(); together(legacy); }
