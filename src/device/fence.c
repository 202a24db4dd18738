/* fence.c: epochs and their events; see fence.h. */
#include "device/fence.h"
#include "base/clock.h"
#include "base/lock.h"
#include "device/capture.h"
#include "device/driver.h"
#include "device/work.h"
#include <errno.h>
#include <time.h>

enum { OUTSTANDING = 32, SPARE_EVENTS = 64 };

struct epoch {
    uint64_t number;
    CUevent event[CONTEXTS]; /* NULL: nothing to wait for in that context */
};

struct fence_clock fence_clock = { 1, 0 };
_Atomic int work_flags;
static struct lock fence_lock = LOCK_INIT(RANK_FENCE);
/* all below under fence_lock: a ring of closed epochs that have not passed, oldest first */
static struct epoch ring[OUTSTANDING];
static uint64_t first, count;
static struct { CUevent event[SPARE_EVENTS]; unsigned count; } spares[CONTEXTS];

uint64_t fence_tag(void) {
    bool covered = work_is_covered(); /* read before `open`: an epoch that closes in between is only a later one */
    uint64_t open = atomic_load(&fence_clock.open);
    return covered ? open - 1 : open;
}

static CUevent take_event(struct context *c) {
    if (spares[c->index].count > 0) return spares[c->index].event[--spares[c->index].count];
    CUevent event = NULL;
    CUcontext popped;
    if (driver.cuCtxPushCurrent_v2(c->handle) != CUDA_SUCCESS) return NULL;
    if (driver.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING) != CUDA_SUCCESS) event = NULL;
    driver.cuCtxPopCurrent_v2(&popped);
    return event;
}

static void put_event(struct context *c, CUevent event) {
    if (spares[c->index].count < SPARE_EVENTS) spares[c->index].event[spares[c->index].count++] = event;
    else if (driver.cuEventDestroy_v2) driver.cuEventDestroy_v2(event);
}

/* Makes `event` cover all work of the context; without events that can, waits for the work instead (*event = NULL). */
static bool cover(struct context *c, CUevent *event) {
    *event = NULL;
    if (!driver.cuCtxRecordEvent) {
        CUcontext popped;
        if (driver.cuCtxPushCurrent_v2(c->handle) != CUDA_SUCCESS) return false;
        CUresult waited = driver.cuCtxSynchronize();
        driver.cuCtxPopCurrent_v2(&popped);
        return waited == CUDA_SUCCESS;
    }
    CUevent taken = take_event(c);
    if (!taken) return false;
    CUresult recorded = driver.cuCtxRecordEvent(c->handle, taken);
    if (recorded == CUDA_SUCCESS) *event = taken;
    else put_event(c, taken);
    return recorded == CUDA_SUCCESS;
}

static void pass(uint64_t epoch) {
    uint64_t passed = atomic_load_explicit(&fence_clock.passed, memory_order_relaxed);
    if (epoch > passed) atomic_store_explicit(&fence_clock.passed, epoch, memory_order_release);
    invariant(atomic_load(&fence_clock.passed) < atomic_load(&fence_clock.open));
}

/* Polls outstanding epochs, oldest first; a context whose events report an error caches no more. */
static void poll_ring(void) {
    while (count > 0) {
        struct epoch *oldest = &ring[first % OUTSTANDING];
        for (unsigned i = 0; i < CONTEXTS; i++) {
            struct context *c = contexts[i];
            if (!oldest->event[i] || !c) continue;
            CUresult answer = driver.cuEventQuery(oldest->event[i]);
            if (answer == CUDA_ERROR_NOT_READY) return;
            if (answer != CUDA_SUCCESS) context_poison(c);
            put_event(c, oldest->event[i]);
            oldest->event[i] = NULL;
        }
        pass(oldest->number);
        first++, count--;
    }
}

static bool close_locked(void) {
    if (count == OUTSTANDING) poll_ring();
    if (count == OUTSTANDING) return false;
    struct epoch *e = &ring[(first + count) % OUTSTANDING];
    *e = (struct epoch){ .number = atomic_load_explicit(&fence_clock.open, memory_order_relaxed) };
    /* The order is the proof: frees that read the old number happened before the events; then the flag; then the events. */
    atomic_store(&fence_clock.open, e->number + 1);
    work_cover();
    bool covered = true;
    for (unsigned i = 0; i < CONTEXTS && covered; i++)
        if (contexts[i] && context_has_work(contexts[i])) covered = cover(contexts[i], &e->event[i]);
    if (!covered) {
        /* No event stands for this epoch; a later one will. Work counts as uncovered again. */
        work_submitted();
        for (unsigned i = 0; i < CONTEXTS; i++)
            if (e->event[i]) put_event(contexts[i], e->event[i]);
        return false;
    }
    count++;
    for (unsigned i = 0; i < CONTEXTS; i++)
        if (contexts[i]) counter_add(&contexts[i]->counters->fences, e->event[i] != NULL);
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

uint64_t fence_before_synchronize(void) {
    if (context_count() != 1) return 0; /* the call waits for one context; an epoch covers all */
    lock_take(&fence_lock);
    uint64_t ticket = atomic_load_explicit(&fence_clock.open, memory_order_relaxed);
    atomic_store(&fence_clock.open, ticket + 1);
    work_cover();
    lock_release(&fence_lock);
    return ticket;
}

void fence_after_synchronize(uint64_t ticket, bool succeeded) {
    if (ticket == 0) return;
    if (!succeeded || context_count() != 1) {
        work_submitted();
        return;
    }
    lock_take(&fence_lock);
    pass(ticket);
    /* epochs closed before the ticket need no events any more */
    while (count > 0 && ring[first % OUTSTANDING].number <= ticket) {
        struct epoch *e = &ring[first % OUTSTANDING];
        for (unsigned i = 0; i < CONTEXTS; i++)
            if (e->event[i] && contexts[i]) put_event(contexts[i], e->event[i]);
        first++, count--;
    }
    lock_release(&fence_lock);
}

void fence_forget(struct context *c) {
    lock_take(&fence_lock);
    for (uint64_t i = 0; i < count; i++) ring[(first + i) % OUTSTANDING].event[c->index] = NULL;
    spares[c->index].count = 0;
    lock_release(&fence_lock);
}

void fence_fork_child(void) { lock_reset(&fence_lock); }
