/* The pool over a driver that is a model: random threads take blocks, give work on them to streams that finish when they
 * like, free them, capture, destroy streams, flush and synchronize. Whoever is handed a block finds every work that its former
 * owners submitted before their free finished; no call that a capture forbids is made while one is active; the numbers
 * add up. On a driver with an event for a whole context, and on one without. Runs under the sanitizers too (make sanitize). */
#include "base/options.h"
#include "device/capture.h"
#include "device/device.h"
#include "device/fence.h"
#include "stats/totals.h"
#include "suite.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMS = 12, WORKERS = 6, HELD = 8, STEPS = 6000, BLOCKS = 1 << 17, EVENTS = 1 << 12 };
static const uint64_t FIRST = 0x7f0000000000;

/* --- the model. A stream is two numbers; its handle is an address that is never a default stream's. */
static struct { _Atomic uint64_t submitted, done; pthread_rwlock_t alive; _Atomic bool gone; } stream[STREAMS];
static struct CUevent_st { uint64_t upto[STREAMS]; } events[EVENTS];
static _Atomic unsigned event_count;
static _Atomic uint64_t next_address, live_in_driver;
static struct shadow { _Atomic uint64_t upto[STREAMS]; uint64_t size; } *shadow; /* by address: the last work of its owners */
static _Atomic bool ended;
/* captures now; calls that one forbids; calls with a stream that is gone; blocks handed out too early */
static _Atomic int active, forbidden, misnamed, early;

static CUcontext the_context = (CUcontext)0x1000;
static CUstream handle_of(unsigned s) { return s == 0 ? NULL : (CUstream)(uintptr_t)(0x10000 + s * 64); }
static unsigned number_of(CUstream s) { return (uintptr_t)s <= 2 ? 0 : (unsigned)(((uintptr_t)s - 0x10000) / 64); }
static bool done_upto(const uint64_t *upto) {
    for (unsigned i = 0; i < STREAMS; i++)
        if (atomic_load(&stream[i].done) < upto[i]) return false;
    return true;
}
static void no_capture(void) { if (atomic_load(&active)) atomic_fetch_add(&forbidden, 1); }

static CUresult alloc(CUdeviceptr *p, size_t size) {
    uint64_t n = atomic_fetch_add(&next_address, 1);
    if (n >= BLOCKS) return CUDA_ERROR_OUT_OF_MEMORY;
    *p = FIRST + n * 512;
    shadow[n].size = size;
    atomic_fetch_add(&live_in_driver, size);
    return CUDA_SUCCESS;
}
static CUresult release(CUdeviceptr p) {
    atomic_fetch_sub(&live_in_driver, shadow[(p - FIRST) / 512].size);
    return CUDA_SUCCESS;
}
static CUresult current(CUcontext *c) { return *c = the_context, CUDA_SUCCESS; }
static CUresult push(CUcontext c) { return (void)c, CUDA_SUCCESS; }
static CUresult pop(CUcontext *c) { return *c = the_context, CUDA_SUCCESS; }
static CUresult which_device(CUdevice *d) { return *d = 0, CUDA_SUCCESS; }
static CUresult total(size_t *bytes, CUdevice d) { return (void)d, *bytes = (size_t)16 << 30, CUDA_SUCCESS; }
static CUresult create(CUevent *e, unsigned flags) {
    (void)flags;
    unsigned n = atomic_fetch_add(&event_count, 1);
    return n < EVENTS ? (*e = &events[n], CUDA_SUCCESS) : CUDA_ERROR_OUT_OF_MEMORY;
}
static CUresult destroy(CUevent e) { return (void)e, CUDA_SUCCESS; }
static CUresult record_context(CUcontext c, CUevent e) {
    (void)c, no_capture();
    for (unsigned i = 0; i < STREAMS; i++) e->upto[i] = atomic_load(&stream[i].submitted);
    return CUDA_SUCCESS;
}
static CUresult record_stream(CUevent e, CUstream s) {
    if (atomic_load(&stream[number_of(s)].gone)) atomic_fetch_add(&misnamed, 1);
    memset(e->upto, 0, sizeof e->upto);
    e->upto[number_of(s)] = atomic_load(&stream[number_of(s)].submitted);
    return CUDA_SUCCESS;
}
static CUresult query(CUevent e) { return no_capture(), done_upto(e->upto) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY; }
static CUresult synchronize(void) {
    struct CUevent_st all;
    for (unsigned i = 0; i < STREAMS; i++) all.upto[i] = atomic_load(&stream[i].submitted);
    while (!done_upto(all.upto)) sched_yield();
    return CUDA_SUCCESS;
}
static CUresult context_of_stream(CUstream s, CUcontext *c) { return (void)s, *c = the_context, CUDA_SUCCESS; }
static CUresult is_capturing(CUstream s, CUstreamCaptureStatus *status) { return (void)s, *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS; }
static CUresult exchange(CUstreamCaptureMode *mode) { return (void)mode, CUDA_SUCCESS; }

static CUresult never_called(void) { abort(); } /* a driver must have it, this test asks for no host memory */

#include "model_driver.h"

/* --- the device: streams finish now and then, one at a time, some more slowly */
static void *device(void *unused) {
    for (unsigned long n = 1; !atomic_load(&ended); n = n * 6364136223846793005ul + 1442695040888963407ul) {
        unsigned i = (unsigned)(n >> 33) % STREAMS;
        if ((n >> 40) % (i + 1) == 0) atomic_store(&stream[i].done, atomic_load(&stream[i].submitted));
        if ((n >> 50) % 8 == 0) sched_yield();
    }
    for (unsigned i = 0; i < STREAMS; i++) atomic_store(&stream[i].done, UINT64_MAX);
    return unused;
}

/* --- a thread of the program */
struct worker { unsigned long random; struct { uint64_t address; uint64_t size; } held[HELD]; };
static unsigned dice(struct worker *w, unsigned sides) {
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return (unsigned)(w->random >> 20) % sides;
}
static struct shadow *shadow_of(uint64_t address) { return &shadow[(address - FIRST) / 512]; }

static void submit(struct worker *w, uint64_t address) {
    unsigned s = dice(w, STREAMS);
    pthread_rwlock_rdlock(&stream[s].alive);
    uint64_t number = atomic_fetch_add(&stream[s].submitted, 1) + 1;
    stream_worked(handle_of(s)); /* what the hook does after the real call */
    pthread_rwlock_unlock(&stream[s].alive);
    struct shadow *b = shadow_of(address);
    if (atomic_load(&b->upto[s]) < number) atomic_store(&b->upto[s], number);
}
static void take(struct worker *w, unsigned i) {
    CUdeviceptr p = 0;
    uint64_t size = (dice(w, 16) + 1) * (dice(w, 8) ? 512 : 65536);
    if (device_alloc(&p, size) != CUDA_SUCCESS) return;
    struct shadow *b = shadow_of(p);
    for (unsigned s = 0; s < STREAMS; s++)
        if (atomic_load(&stream[s].done) < atomic_load(&b->upto[s])) atomic_fetch_add(&early, 1);
    w->held[i].address = p, w->held[i].size = size;
    for (unsigned n = dice(w, 3); n > 0; n--) submit(w, p);
}
static void capture(struct worker *w) {
    CUstream s = handle_of(1 + dice(w, STREAMS - 1));
    capture_before_begin();
    atomic_fetch_add(&active, 1);
    capture_after_begin(true);
    for (unsigned n = dice(w, 50); n > 0; n--) sched_yield();
    atomic_fetch_sub(&active, 1);
    capture_after_end(s, CUDA_SUCCESS);
}
/* No program destroys a stream to which others still submit; then one of the same handle is made. */
static void end_stream(struct worker *w) {
    unsigned s = 1 + dice(w, STREAMS - 1);
    pthread_rwlock_wrlock(&stream[s].alive);
    fence_stream_ending(handle_of(s));
    atomic_store(&stream[s].gone, true);
    for (unsigned n = dice(w, 20); n > 0; n--) sched_yield();
    atomic_store(&stream[s].gone, false);
    pthread_rwlock_unlock(&stream[s].alive);
}
static void *work(void *number) {
    struct worker w = { .random = (unsigned long)number * 0x9e3779b97f4a7c15ul + 99 };
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = dice(&w, HELD);
        if (w.held[i].address) {
            if (device_free(w.held[i].address) != CUDA_SUCCESS) atomic_fetch_add(&early, 1000000);
            w.held[i].address = 0;
        }
        if (dice(&w, 4)) take(&w, i);
        unsigned rare = dice(&w, 400);
        if (rare == 0) capture(&w);
        if (rare == 1) pool_flush_context(context_of(the_context));
        if (rare == 2) {
            uint64_t ticket = fence_before_synchronize();
            fence_after_synchronize(ticket, synchronize() == CUDA_SUCCESS);
        }
        if (rare == 3 || rare == 4) end_stream(&w);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (w.held[i].address) device_free(w.held[i].address);
    return NULL;
}

static void run(bool context_event) {
    pthread_t thread[WORKERS], gpu;
    with_context_event = context_event;
    shadow = calloc(BLOCKS, sizeof *shadow);
    options_load();
    driver_fill(find);
    ck_assert(driver_ready());
    for (unsigned i = 0; i < STREAMS; i++) pthread_rwlock_init(&stream[i].alive, NULL);
    pthread_create(&gpu, NULL, device, NULL);
    for (long i = 0; i < WORKERS; i++) pthread_create(&thread[i], NULL, work, (void *)i);
    for (int i = 0; i < WORKERS; i++) pthread_join(thread[i], NULL);
    atomic_store(&ended, true);
    pthread_join(gpu, NULL);
    struct device_counters *d = context_of(the_context)->counters;
    ck_assert_int_eq(atomic_load(&early), 0);
    ck_assert_int_eq(atomic_load(&forbidden), 0);
    ck_assert_int_eq(atomic_load(&misnamed), 0);
    ck_assert_uint_eq(device_live(d), 0);
    ck_assert_uint_eq(counter_get(&d->rounding_bytes), 0);
    ck_assert_uint_eq(counter_get(&d->reserved_bytes), atomic_load(&live_in_driver));
    ck_assert_uint_gt(counter_get(&d->fences), 0);
    pool_flush_context(context_of(the_context));
    ck_assert_uint_eq(atomic_load(&live_in_driver), 0);
    ck_assert_uint_eq(counter_get(&d->reserved_bytes), 0);
}

START_TEST(blocks_wait_for_their_work_with_an_event_for_a_context) { run(true); }
END_TEST
START_TEST(blocks_wait_for_their_work_with_an_event_for_each_stream) { run(false); }
END_TEST

SUITE("pool", NULL, NULL, blocks_wait_for_their_work_with_an_event_for_a_context, blocks_wait_for_their_work_with_an_event_for_each_stream)
