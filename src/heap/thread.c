/* thread.c: threads begin, publish and end; see thread.h. */
#include "heap/thread.h"
#include "heap/jemalloc.h"
#include <errno.h>
#include <pthread.h>

_Thread_local struct heap_thread heap_thread;
static _Thread_local struct thread_counters own_counters;

static pthread_key_t key;
static bool have_key;
static _Atomic bool child_unsettled; /* a fork's child whose counters are still its parent's */

/* Programs' own key destructors free memory too: ours lets them go first, as far as rounds of destructors allow. */
enum { LAST_ROUND = 3 };

/* --- beginning */

/* Where jemalloc counts this thread's bytes. Looked up by number: it happens once a thread. */
static const uint64_t *jemalloc_count(const char *name) {
    uint64_t *at = NULL;
    size_t length = sizeof at;
    return je_mallctl(name, &at, &length, NULL, 0) == 0 ? at : NULL;
}

static void share(struct heap_thread *t) {
    t->own = t->slot = &own_counters;
    t->state = THREAD_SHARED;
}

static void take_slot(struct heap_thread *t) {
    t->slot = counters_thread_begin();
    t->state = THREAD_LIVE;
    if (counters_slot_is_shared(t->slot)) share(t);
}

void heap_thread_ready(void) {
    struct heap_thread *t = &heap_thread;
    if (likely(t->state != THREAD_NEW)) return;
    int saved = errno;
    share(t); /* whatever is called from here may allocate */
    t->allocated = jemalloc_count("thread.allocatedp");
    t->freed = jemalloc_count("thread.deallocatedp");
    t->told_allocated = *t->allocated, t->told_freed = *t->freed;
    if (atomic_load_explicit(&child_unsettled, memory_order_relaxed)) heap_settle_child();
    if (t->state == THREAD_SHARED && !t->rounds) take_slot(t);
    if (have_key) pthread_setspecific(key, t);
    errno = saved;
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

void heap_thread_tell(void) {
    struct heap_thread *t = &heap_thread;
    if (t->state == THREAD_NEW) return;
    counter_bump(&t->slot->bytes_allocated, *t->allocated - t->told_allocated);
    counter_bump(&t->slot->bytes_freed, *t->freed - t->told_freed);
    t->told_allocated = *t->allocated, t->told_freed = *t->freed;
}

void heap_publish(unsigned allocs, unsigned frees) {
    struct heap_thread *t = &heap_thread;
    counter_bump(&t->slot->allocs, allocs);
    counter_bump(&t->slot->frees, frees);
    heap_thread_tell();
    if (unlikely(atomic_load_explicit(&child_unsettled, memory_order_relaxed))) heap_settle_child();
    else if (unlikely(t->state == THREAD_SHARED)) hand_over(t->own);
    t->credit = t->rounds ? 0 : HEAP_CREDIT;
    heap_refresh_now_and_then();
}

/* --- ending */

static void thread_end(void *argument) {
    struct heap_thread *t = &heap_thread;
    if (++t->rounds < LAST_ROUND && pthread_setspecific(key, t) == 0) return;
    heap_publish(0, 0);
    if (t->state == THREAD_LIVE) counters_thread_end(t->slot);
    share(t);
    t->credit = 0; /* for ever: each later call publishes at once */
}

void heap_threads_init(void) { have_key = pthread_key_create(&key, thread_end) == 0; }

/* --- fork */

void heap_thread_fork_child(void) {
    struct heap_thread *t = &heap_thread;
    atomic_store(&child_unsettled, true);
    if (t->state == THREAD_NEW) return;
    own_counters = (struct thread_counters){ 0 };
    share(t);
    t->told_allocated = *t->allocated, t->told_freed = *t->freed;
    t->credit = t->rounds ? 0 : HEAP_CREDIT;
}

void heap_settle_child(void) {
    struct heap_thread *t = &heap_thread;
    if (!atomic_exchange(&child_unsettled, false)) return;
    counters_open(true);
    if (t->state == THREAD_NEW) return;
    if (t->rounds == 0) take_slot(t);
    hand_over(&own_counters);
}
