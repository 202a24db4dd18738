/* thread.c: threads begin, publish and end; see thread.h. */
#include "heap/thread.h"
#include "heap/budget.h"
#include "heap/hand.h"
#include "heap/jemalloc.h"
#include "heap/packed.h"
#include "heap/typed.h"
#include "stats/control.h"
#include "stats/service.h"
#include <errno.h>
#include <pthread.h>

_Thread_local struct heap_thread heap_thread;
static _Thread_local struct thread_counters own_counters;

static pthread_key_t key;
static bool have_key;
static _Atomic bool child_unsettled; /* a fork's child whose counters are still its parent's */

/* Programs' own key destructors free memory too: ours lets them go first, as far as rounds of destructors allow. */
enum { LAST_ROUND = 3 };
enum { RARE_EVERY = 16, AGED_EVERY = 16 };

/* --- beginning */

/* Where jemalloc counts this thread's bytes. Asked by name: it happens once a thread. */
static const uint64_t *jemalloc_count(const char *name) {
    static const uint64_t unknown;
    const uint64_t *at = NULL;
    size_t length = sizeof at;
    return je_mallctl(name, &at, &length, NULL, 0) == 0 ? at : &unknown;
}

static void share(struct heap_thread *t) {
    t->own = t->slot = &own_counters;
    t->state = THREAD_SHARED;
    t->until_rare = 0;
}

static void take_slot(struct heap_thread *t) {
    t->slot = counters_thread_begin();
    t->state = THREAD_LIVE;
    if (counters_slot_is_shared(t->slot)) share(t);
}

void heap_thread_begin(void) {
    struct heap_thread *t = &heap_thread;
    int saved = errno;
    share(t); /* whatever is called from here may allocate */
    t->allocated = jemalloc_count("thread.allocatedp");
    t->freed = jemalloc_count("thread.deallocatedp");
    t->told_allocated = heap_thread_allocated(t), t->told_freed = heap_thread_freed(t);
    if (atomic_load_explicit(&child_unsettled, memory_order_relaxed)) heap_settle_child();
    if (t->state == THREAD_SHARED && !t->rounds) take_slot(t);
    if (have_key && pthread_setspecific(key, t) == 0 && !t->previous_known) kept_thread_begin(t);
    heap_thread_classify();
    errno = saved;
}

/* Addresses of code have 47 or 56 bits; the highest byte is the salt's. */
static void forget_callers(struct heap_thread *t) {
    t->salt += (uintptr_t)1 << 56;
    if (t->salt != 0) return;
    for (struct known *k = t->known; k < t->known + KNOWN_CALLERS; k++) *k = (struct known){ 0 };
}

/* Which side of the decision a thread is on is looked at when it begins, when it pushes or pops, and now and then. */
void heap_thread_classify(void) {
    struct heap_thread *t = &heap_thread;
    bool typed = type_is_pushed() || sites_from[SITES_HOST] < HEAP_LARGE;
    int32_t bias = typed || packed_on ? HEAP_CREDIT : 0;
    t->packs = packed_on && !typed;
    t->takes += t->bias - bias;
    t->bias = bias;
    forget_callers(t);
}

/* --- publishing */

static void add(counter *to, counter *from) {
    counter_add(to, counter_get(from));
    counter_set(from, 0);
}

/* Numbers of our own go to the shared slot. */
static void hand_over(struct thread_counters *from) {
    struct thread_counters *to = &counters->late;
    add(&to->allocs, &from->allocs), add(&to->frees, &from->frees);
    add(&to->bytes_allocated, &from->bytes_allocated), add(&to->bytes_freed, &from->bytes_freed);
}

static inline void tell(struct heap_thread *t) {
    struct thread_counters *slot = t->slot;
    const uint64_t allocated = heap_thread_allocated(t), freed = heap_thread_freed(t);
    counter_bump(&slot->allocs, (uint64_t)(int64_t)(t->granted - t->bias - t->takes));
    counter_bump(&slot->frees, (uint64_t)(int64_t)(t->granted - t->gives));
    counter_bump(&slot->bytes_allocated, allocated - t->told_allocated);
    counter_bump(&slot->bytes_freed, freed - t->told_freed);
    t->grant -= (int64_t)((allocated - t->told_allocated) - (freed - t->told_freed));
    heap_thread_credit(t, t->granted);
    t->told_allocated = allocated, t->told_freed = freed;
}

void heap_thread_tell(void) {
    if (heap_thread.state != THREAD_NEW) tell(&heap_thread);
}

/* Most children soon call exec or leave: a file of their own would cost them 100 us. */
static void settle_if_worth_it(const struct thread_counters *own) {
    if (counter_get(&own->allocs) >= 1024 || counter_get(&own->bytes_allocated) >= 1 << 20) heap_settle_child();
}

/* What a thread has at hand is what it once needed at the same time: the half that it has not come back to goes. Of jemalloc's cache a thread
 * that packs is served seldom, and still fills it with what it frees from before. */
static COLD void age(struct heap_thread *t) {
    int saved = errno;
    t->until_aged = AGED_EVERY - 1;
    hand_halve(t);
    if (t->packs) je_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    errno = saved;
}

/* A thread without a slot or in an unsettled child, and every sixteenth publication of the others. */
static COLD void publish_rarely(struct heap_thread *t) {
    if (unlikely(atomic_load_explicit(&child_unsettled, memory_order_relaxed))) settle_if_worth_it(t->own);
    else if (t->state == THREAD_SHARED) hand_over(t->own);
    if (t->granted == 0 && t->rounds == 0 && !t->tight) heap_thread_credit(t, HEAP_CREDIT);
    t->until_rare = t->state == THREAD_SHARED ? 0 : RARE_EVERY;
    kept_release(false);
    heap_thread_classify();
    if ((t->packs || t->hand) && t->until_aged-- == 0) age(t);
    if (atomic_load_explicit(&child_unsettled, memory_order_relaxed)) return;
    heap_refresh_now_and_then();
    if (unlikely(control_is_asked()) && !service_runs()) control_serve(false);
}

void heap_publish(void) {
    struct heap_thread *t = &heap_thread;
    tell(t);
    if (unlikely((uint64_t)t->grant > 2 * HEAP_GRANT)) heap_budget_adjust(t);
    if (unlikely(t->until_rare == 0)) publish_rarely(t);
    else t->until_rare--;
}

bool heap_credit_samples;
void heap_publish_freed(void) {
    struct heap_thread *t = &heap_thread;
    int32_t left = t->takes + t->bias;
    heap_publish();
    if (unlikely(heap_credit_samples) && left < t->granted) heap_thread_credit(t, left > 1 ? left : 1);
}

/* --- ending */

static void thread_end(void *argument) {
    struct heap_thread *t = &heap_thread;
    if (++t->rounds < LAST_ROUND && pthread_setspecific(key, t) == 0) return;
    kept_thread_end(t), kept_release(true);
    heap_typed_thread_end(t), hand_thread_end(t);
    heap_publish();
    heap_budget_thread_end(t);
    if (t->state == THREAD_LIVE) counters_thread_end(t->slot);
    share(t);
    heap_thread_credit(t, 0); /* for ever: each later call publishes at once */
}

void heap_threads_init(void) { have_key = pthread_key_create(&key, thread_end) == 0; }

/* --- fork */

void heap_thread_fork_child(void) {
    struct heap_thread *t = &heap_thread;
    atomic_store(&child_unsettled, true);
    heap_budget_fork_child();
    kept_fork_child(t);
    if (t->state == THREAD_NEW) return;
    own_counters = (struct thread_counters){ 0 };
    share(t);
    t->told_allocated = heap_thread_allocated(t), t->told_freed = heap_thread_freed(t);
    heap_thread_credit(t, t->granted);
}

void heap_settle_child(void) {
    struct heap_thread *t = &heap_thread;
    if (!atomic_exchange(&child_unsettled, false)) return;
    counters_open(true);
    if (t->state == THREAD_NEW) return;
    if (t->rounds == 0) take_slot(t);
    hand_over(&own_counters);
}
