/* fence.c: epochs and their events; see fence.h. */
#include "device/fence.h"
#include "base/clock.h"
#include "base/lock.h"
#include "device/capture.h"
#include "device/driver.h"
#include "device/work.h"
#include <errno.h>
#include <time.h>

enum { OUTSTANDING = 32 };

struct epoch {
    uint64_t number;
    struct fence_event *events; /* those that have not passed */
};

struct fence_clock fence_clock = { 1, 0 };
_Atomic int work_flags;
static struct lock fence_lock = LOCK_INIT(RANK_FENCE);
/* all below under fence_lock: a ring of closed epochs that have not passed, oldest first */
static struct epoch ring[OUTSTANDING];
static uint64_t first, count;
static struct fence_event *strays; /* of streams that are gone: the next epoch's */

static void pass(uint64_t epoch) {
    uint64_t passed = atomic_load_explicit(&fence_clock.passed, memory_order_relaxed);
    if (epoch > passed) atomic_store_explicit(&fence_clock.passed, epoch, memory_order_release);
    invariant(atomic_load(&fence_clock.passed) < atomic_load(&fence_clock.open));
}

/* The events of one epoch, as far as they have passed. True: all have. */
static bool poll_epoch(struct epoch *e) {
    while (e->events) {
        if (event_ask(e->events) == EVENT_WAITING) return false;
        struct fence_event *passed = e->events;
        e->events = passed->next;
        event_put(passed);
    }
    return true;
}

static void poll_ring(void) {
    while (count > 0 && poll_epoch(&ring[first % OUTSTANDING])) pass(ring[first++ % OUTSTANDING].number), count--;
}

/* Makes events cover all work of the context. */
static bool cover(struct context *c, struct fence_event **events) {
    if (!driver.cuCtxRecordEvent) return streams_cover(c, events);
    struct fence_event *e = event_of_context(c);
    if (e) e->next = *events, *events = e;
    return e;
}

/* A context that is just ending may live on: no epoch can do without its work, nor ask for it. */
static bool any_ending(void) {
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (atomic_load(&contexts[i]->gate) & GATE_ENDING) return true;
    return false;
}

static void count_fences(const struct fence_event *events) {
    uint32_t seen = 0;
    for (const struct fence_event *e = events; e; e = e->next) {
        if (!(seen >> e->context->index & 1)) counter_add(&e->context->counters->fences, 1);
        seen |= 1u << e->context->index;
    }
}

static void join(struct fence_event **list, struct fence_event *more) {
    while (*list) list = &(*list)->next;
    *list = more;
}

static bool close_locked(void) {
    if (count == OUTSTANDING) poll_ring();
    if (count == OUTSTANDING || fence_must_wait() || any_ending()) return false;
    struct epoch *e = &ring[(first + count) % OUTSTANDING];
    *e = (struct epoch){ .number = atomic_load_explicit(&fence_clock.open, memory_order_relaxed) };
    /* The order is the proof: frees that read the old number happened before the events; then the flag; then the events. */
    atomic_store(&fence_clock.open, e->number + 1);
    work_cover();
    bool covered = true;
    for (unsigned i = 0; i < CONTEXTS && contexts[i] && covered; i++)
        if (context_has_work(contexts[i])) covered = cover(contexts[i], &e->events);
    /* a submission through an unknown door, or a context that began to end, meanwhile */
    if (!covered || fence_must_wait() || any_ending()) {
        /* No event stands for this epoch; a later one will. Work counts as uncovered again. */
        streams_uncover();
        work_submitted();
        event_put_all(e->events);
        return false;
    }
    join(&e->events, strays);
    strays = NULL;
    count_fences(e->events);
    count++;
    return true;
}

bool fence_close(void) {
    if (!capture_keep_out()) return false;
    lock_take(&fence_lock);
    bool closed = close_locked();
    lock_release(&fence_lock);
    capture_let_in();
    return closed;
}

bool fence_poll(uint64_t epoch) {
    if (fence_has_passed(epoch)) return true;
    if (!capture_keep_out()) return false;
    lock_take(&fence_lock);
    uint64_t newest = count > 0 ? ring[(first + count - 1) % OUTSTANDING].number : 0;
    if (newest >= epoch || close_locked()) poll_ring();
    lock_release(&fence_lock);
    capture_let_in();
    return fence_has_passed(epoch);
}

bool fence_wait(uint64_t epoch, uint64_t limit_ns) {
    uint64_t start = clock_ns();
    for (unsigned rounds = 0; !fence_poll(epoch); rounds++) {
        if (clock_ns() - start > limit_ns) return false;
        if (rounds > 8) {
            int saved = errno;
            nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
            errno = saved;
        }
    }
    return true;
}

/* Opens the next epoch. The number of the one before: whoever waits for all work from here on may pass it. 0: some context
 * that lives is left out. */
static uint64_t open_next(void) {
    lock_take(&fence_lock);
    uint64_t ticket = any_ending() ? 0 : atomic_load_explicit(&fence_clock.open, memory_order_relaxed);
    if (ticket) {
        atomic_store(&fence_clock.open, ticket + 1);
        work_cover();
    }
    lock_release(&fence_lock);
    return ticket;
}

/* All work from before the ticket has finished: its epoch and those before it need no events any more. */
static void pass_ticket(uint64_t ticket) {
    lock_take(&fence_lock);
    pass(ticket);
    while (count > 0 && ring[first % OUTSTANDING].number <= ticket) event_put_all(ring[first++ % OUTSTANDING].events), count--;
    lock_release(&fence_lock);
}

static void miss_ticket(void) {
    streams_uncover();
    work_submitted();
}

uint64_t fence_before_synchronize(void) {
    return context_count() == 1 ? open_next() : 0; /* the call waits for one context; an epoch covers all */
}

void fence_after_synchronize(uint64_t ticket, bool succeeded) {
    if (ticket == 0) return;
    if (succeeded && context_count() == 1) pass_ticket(ticket);
    else miss_ticket();
}

static CUresult ask_to_synchronize(struct context *c) {
    if (!context_enter(c)) return CUDA_ERROR_INVALID_CONTEXT;
    CUresult waited = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (capture_wait_begins()) {
        waited = driver.cuCtxSynchronize();
        capture_wait_ends();
    }
    context_leave(c);
    context_noticed(c, waited);
    return waited;
}

/* Once more if need be: memory that was shown and could not be waited for stays for as long as the context does. */
static bool synchronize(struct context *c) {
    return ask_to_synchronize(c) == CUDA_SUCCESS || (context_has_work(c) && ask_to_synchronize(c) == CUDA_SUCCESS);
}

bool fence_drain(struct context *only) {
    uint64_t lost = streams_lost();
    unsigned before = context_count();
    uint64_t ticket = !only || before == 1 ? open_next() : 0;
    bool all = true, waited = !only;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if ((!only || contexts[i] == only) && context_has_work(contexts[i])) all &= synchronize(contexts[i]), waited = true;
    if (ticket == 0) return all && waited;
    if (all && context_count() == before) {
        streams_drained(lost);
        pass_ticket(ticket);
    } else {
        miss_ticket();
    }
    return all && waited;
}

bool fence_finish(struct context *c) {
    return fence_drain(c) || (context_is_lost(c) && ask_to_synchronize(c) != CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

/* Unlike a query, a record disturbs no capture but that of its own stream. */
static bool captures_itself(CUstream stream) {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    if (!capture_active()) return false;
    return !driver.cuStreamIsCapturing || driver.cuStreamIsCapturing(stream, &status) != CUDA_SUCCESS || status != CU_STREAM_CAPTURE_STATUS_NONE;
}

/* All of it in one piece: an epoch that closes meanwhile must not record a stream that is being destroyed, and what is learned of the next
 * stream with this handle must not be forgotten with this one. */
void fence_stream_ending(CUstream stream) {
    if (likely(driver.cuCtxRecordEvent != NULL)) return;
    lock_take(&fence_lock);
    struct context *c = stream_to_record(stream);
    if (c && context_has_work(c)) {
        struct fence_event *e = captures_itself(stream) ? NULL : event_of_stream(c, stream);
        if (e) e->next = strays, strays = e;
        else stream_lost();
    }
    stream_forget(stream);
    lock_release(&fence_lock);
}

void fence_meet(void) {
    lock_take(&fence_lock);
    lock_release(&fence_lock);
}

void fence_forget(struct context *c) {
    lock_take(&fence_lock);
    for (uint64_t i = 0; i < count; i++) event_forget(&ring[(first + i) % OUTSTANDING].events, c);
    event_forget(&strays, c);
    event_forget_spares(c);
    streams_forget(c);
    lock_release(&fence_lock);
}

void fence_fork_child(void) { lock_reset(&fence_lock), streams_fork_child(); }
