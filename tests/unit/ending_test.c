/* A context that ends. Who works in it of our own accord finishes first, and nobody begins to. It
 * may live on after all (the call fails, others hold it): meanwhile no epoch does without its work,
 * so a block that was freed in it is not handed out before that work is done. Two contexts over a driver that is a model:
 * `old` has work that takes for ever and is about to end, the program goes on in `other`. On a driver with an event for a whole
 * context, and on one without. */
#include "base/options.h"
#include "device/capture.h"
#include "device/context.h"
#include "device/device.h"
#include "device/fence.h"
#include "device/pool.h"
#include "suite.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 1 << 20, EVENTS = 256 };
static const CUcontext other = (CUcontext)0x1000, old = (CUcontext)0x2000;

/* --- the model: one stream a context, as two numbers */
enum { OTHER, OLD, BOTH };
static uint64_t submitted[BOTH], done[BOTH];
static struct CUevent_st { uint64_t upto[BOTH]; } events[EVENTS];
static unsigned event_count;
static CUcontext now[8] = { other };
static unsigned depth;
static CUdeviceptr next_address = 0x7f0000000000;
static void (*at_record)(void); /* what other threads do while work in `other` is being recorded */

static unsigned number_of(CUcontext c) { return c == old ? OLD : OTHER; }
static CUresult alloc(CUdeviceptr *p, size_t size) { return *p = next_address, next_address += size, CUDA_SUCCESS; }
static void (*at_release)(void);  /* the same while memory is being given back */
static unsigned released;
static CUresult release(CUdeviceptr p) {
    void (*others)(void) = at_release;
    (void)p, released++;
    if (others) at_release = NULL, others();
    return CUDA_SUCCESS;
}
static CUresult current(CUcontext *c) { return *c = now[depth], CUDA_SUCCESS; }
static CUresult push(CUcontext c) { return now[++depth] = c, CUDA_SUCCESS; }
static CUresult pop(CUcontext *c) { return *c = now[depth--], CUDA_SUCCESS; }
static CUresult which_device(CUdevice *d) { return *d = 0, CUDA_SUCCESS; }
static CUresult total(size_t *bytes, CUdevice d) { return (void)d, *bytes = (size_t)16 << 30, CUDA_SUCCESS; }
static CUresult create(CUevent *e, unsigned flags) {
    (void)flags;
    ck_assert_uint_lt(event_count, EVENTS);
    return *e = &events[event_count++], CUDA_SUCCESS;
}
static CUresult destroy(CUevent e) { return (void)e, CUDA_SUCCESS; }
static CUresult record_context(CUcontext c, CUevent e) {
    void (*others)(void) = c == other ? at_record : NULL;
    memset(e, 0, sizeof *e);
    e->upto[number_of(c)] = submitted[number_of(c)];
    if (others) at_record = NULL, others();
    return CUDA_SUCCESS;
}
static CUresult record_stream(CUevent e, CUstream s) { return (void)s, record_context(now[depth], e); }
static CUresult query(CUevent e) { return done[OLD] >= e->upto[OLD] && done[OTHER] >= e->upto[OTHER] ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY; }
/* Whoever would wait for `old` would wait for ever. The next so many waits are refused. */
static unsigned refused;
static CUresult refusal;
static CUresult synchronize(void) {
    ck_assert(now[depth] == other);
    if (refused > 0) return refused--, refusal;
    return done[OTHER] = submitted[OTHER], CUDA_SUCCESS;
}
static CUresult context_of_stream(CUstream s, CUcontext *c) { return (void)s, *c = now[depth], CUDA_SUCCESS; }
static CUresult is_capturing(CUstream s, CUstreamCaptureStatus *status) { return (void)s, *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS; }
static CUresult exchange(CUstreamCaptureMode *mode) { return (void)mode, CUDA_SUCCESS; }
static CUresult never_called(void) { return ck_abort_msg("no host memory was asked for"), CUDA_ERROR_UNKNOWN; }

#include "model_driver.h"

/* --- the program */
static void go(CUcontext c) { now[depth] = c, context_set_current(c); }
static CUdeviceptr take(void) {
    CUdeviceptr p = 0;
    ck_assert_int_eq(device_alloc(&p, BYTES), CUDA_SUCCESS);
    return p;
}
static void give(CUdeviceptr p) { ck_assert_int_eq(device_free(p), CUDA_SUCCESS); }
static void submit(CUcontext c) {
    go(c);
    submitted[number_of(c)]++;
    stream_worked(NULL); /* what the hook does after the real call */
}
/* Work and a free in `other`, and a request that would close the epoch. */
static CUdeviceptr go_on(void) {
    go(other);
    CUdeviceptr p = take();
    submit(other);
    give(p);
    done[OTHER] = submitted[OTHER];
    return take();
}

static CUdeviceptr block; /* of `old`, freed while work on it is pending */
static void begin_with(bool context_event) {
    with_context_event = context_event;
    options_load();
    driver_fill(find);
    ck_assert(driver_ready());
    go_on();
    go(old);
    block = take();
    submit(old);
    give(block);
    go(other);
}
static void begin(void) { begin_with(true); }
static void begin_older(void) { begin_with(false); }

static void expect_old_to_live_on(void) {
    go(old);
    ck_assert_msg(take() != block, "handed out while work on it is pending");
    done[OLD] = submitted[OLD];
    ck_assert_msg(take() == block, "its work is done, and it was not reused");
}

START_TEST(no_epoch_closes_while_a_context_ends) {
    struct context *c = context_close(old);
    go_on(), go_on();
    device_context_ended(c, false);
    expect_old_to_live_on();
}
END_TEST

START_TEST(no_epoch_passes_while_a_context_ends) {
    CUdeviceptr p = take();
    ck_assert(fence_close());
    struct context *c = context_close(old);
    give(p); /* no work since: it belongs to the epoch that closed, and is asked for */
    ck_assert_msg(take() != p, "its epoch has passed without the work of the context that ends");
    go_on();
    device_context_ended(c, false);
    expect_old_to_live_on();
}
END_TEST

/* Another thread begins to destroy the context while the events of an epoch are being recorded. */
static pthread_t destroyer;
static _Atomic bool ends; /* the driver may have been asked to end it by now */
static void *destroy_old(void *unused) {
    context_close(old);
    atomic_store(&ends, true);
    return unused;
}
static void begin_to_destroy(void) {
    pthread_create(&destroyer, NULL, destroy_old, NULL);
    while (context_count() == BOTH) sched_yield();
}
START_TEST(an_epoch_does_not_close_without_a_context_that_begins_to_end) {
    submit(other);
    at_record = begin_to_destroy;
    fence_close();
    ck_assert(!at_record);
    pthread_join(destroyer, NULL);
    go_on();
    device_context_ended(contexts[OLD], false);
    expect_old_to_live_on();
}
END_TEST

START_TEST(waiting_for_other_work_passes_nothing_of_it) {
    struct context *c = context_close(old);
    uint64_t ticket = fence_before_synchronize();
    fence_after_synchronize(ticket, synchronize() == CUDA_SUCCESS);
    fence_drain(NULL);
    device_context_ended(c, false);
    expect_old_to_live_on();
}
END_TEST

START_TEST(its_work_is_forgotten_with_it) {
    ck_assert(fence_close());
    struct context *c = context_close(old);
    CUdeviceptr p = take();
    submit(other);
    give(p);
    device_context_ended(c, true);
    done[OTHER] = submitted[OTHER];
    ck_assert_msg(take() == p, "it waits for a context that is no more");
}
END_TEST

static void expect_that_it_waits(void) {
    begin_to_destroy();
    usleep(20000);
    ck_assert_msg(!atomic_load(&ends), "it ends while its memory is being given back");
}
START_TEST(nobody_ends_a_context_that_is_being_trimmed) {
    done[OLD] = submitted[OLD];
    at_release = expect_that_it_waits;
    ck_assert_uint_eq(pool_flush_context(contexts[OLD]), BYTES);
    ck_assert(!at_release);
    pthread_join(destroyer, NULL);
    device_context_ended(contexts[OLD], true);
}
END_TEST

START_TEST(nobody_trims_a_context_that_ends) {
    struct context *c = context_close(old);
    ck_assert_uint_eq(pool_flush_context(c), 0);
    ck_assert(!context_visit(c) && !context_enter(c));
    ck_assert_uint_eq(released, 0);
    device_context_ended(c, false);
    expect_old_to_live_on();
}
END_TEST

START_TEST(what_was_not_waited_for_is_not_said_to_be) {
    ck_assert(fence_drain(contexts[OTHER]));
    capture_before_begin();
    capture_after_begin(true);
    ck_assert(!fence_drain(contexts[OTHER]));
    capture_after_end(NULL, CUDA_SUCCESS);
    struct context *c = context_close(old);
    ck_assert(!fence_drain(c) && fence_drain(contexts[OTHER]));
    device_context_ended(c, false);
}
END_TEST

START_TEST(a_wait_that_is_refused_once_is_made_again) {
    submit(other);
    refusal = CUDA_ERROR_OUT_OF_MEMORY, refused = 1;
    ck_assert(fence_drain(contexts[OTHER]));
    ck_assert_uint_eq(done[OTHER], submitted[OTHER]);
    refused = 2;
    ck_assert(!fence_drain(contexts[OTHER]));
}
END_TEST

START_TEST(work_in_a_lost_context_is_waited_for_before_its_memory_goes) {
    submit(other);
    context_noticed(contexts[OTHER], CUDA_ERROR_INVALID_HANDLE);
    ck_assert(!fence_drain(contexts[OTHER]) && fence_finish(contexts[OTHER]));
    ck_assert_uint_eq(done[OTHER], submitted[OTHER]);
    capture_before_begin();
    capture_after_begin(true);
    ck_assert(!fence_finish(contexts[OTHER]));
    capture_after_end(NULL, CUDA_SUCCESS);
    refusal = CUDA_ERROR_ILLEGAL_ADDRESS, refused = 1;
    ck_assert(fence_finish(contexts[OTHER]));
}
END_TEST

#define ALL no_epoch_closes_while_a_context_ends, no_epoch_passes_while_a_context_ends, an_epoch_does_not_close_without_a_context_that_begins_to_end, \
    waiting_for_other_work_passes_nothing_of_it, its_work_is_forgotten_with_it, nobody_ends_a_context_that_is_being_trimmed, \
    nobody_trims_a_context_that_ends, what_was_not_waited_for_is_not_said_to_be, \
    a_wait_that_is_refused_once_is_made_again, work_in_a_lost_context_is_waited_for_before_its_memory_goes
int main(void) {
    int newer = CASES("ending", begin, NULL, ALL), older = CASES("ending, on an older driver", begin_older, NULL, ALL);
    return newer || older;
}
