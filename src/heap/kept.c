/* kept.c: see kept.h. */
#include "heap/kept.h"
#include "base/lock.h"
#include "heap/jemalloc.h"
#include "heap/thread.h"

enum { SWEPT = 64 };

bool kept_any_large;

/* Threads that may keep something, so that others can ask them. */
static struct lock known_lock = LOCK_INIT(RANK_HEAP);
static struct heap_thread *known;

/* Whoever gets the address has the block. */
static void *claim(struct kept_block *k) {
    return atomic_load_explicit(&k->at, memory_order_relaxed) ? atomic_exchange_explicit(&k->at, NULL, memory_order_acquire) : NULL;
}

void *kept_take(size_t size) {
    struct heap_thread *t = &heap_thread;
    for (struct kept_block *k = t->kept; k < t->kept + KEPT_BLOCKS; k++) {
        if (size > k->usable || size <= k->usable / 4 * 3) continue;
        void *p = claim(k);
        if (p) return t->kept_taken += k->usable, p;
    }
    return NULL;
}

/* jemalloc counts it as freed by this thread from now on. */
static void release(void *p, size_t usable) {
    if (!p) return;
    heap_thread.kept_given -= usable;
    je_free(p);
}

static void put(struct kept_block *k, void *p, size_t usable) {
    k->usable = usable, k->age = 0;
    atomic_store_explicit(&k->at, p, memory_order_release);
}

/* The newest is first; the oldest makes room. */
bool kept_give(void *p) {
    struct heap_thread *t = &heap_thread;
    size_t usable = je_malloc_usable_size(p);
    if (usable < KEPT_LEAST || usable > KEPT_MOST || t->rounds || t->state != THREAD_LIVE) return false;
    size_t before_usable = t->kept[0].usable, oldest_usable = t->kept[1].usable;
    void *before = claim(&t->kept[0]), *oldest = before ? claim(&t->kept[1]) : NULL;
    if (before) put(&t->kept[1], before, before_usable);
    put(&t->kept[0], p, usable);
    t->kept_given += usable;
    release(oldest, oldest_usable);
    return true;
}

void kept_release(bool all) {
    struct heap_thread *t = &heap_thread;
    for (struct kept_block *k = t->kept; k < t->kept + KEPT_BLOCKS; k++)
        if (all || ++k->age > KEPT_AGE) release(claim(k), k->usable);
}

/* --- threads that are asked by others */

void kept_thread_begin(struct heap_thread *t) {
    lock_take(&known_lock);
    t->next_known = known, t->previous_known = &known;
    if (known) known->previous_known = &t->next_known;
    known = t;
    lock_release(&known_lock);
}

void kept_thread_end(struct heap_thread *t) {
    lock_take(&known_lock);
    if (t->previous_known) *t->previous_known = t->next_known;
    if (t->previous_known && t->next_known) t->next_known->previous_known = t->previous_known;
    t->next_known = NULL, t->previous_known = NULL;
    lock_release(&known_lock);
}

void kept_fork_child(struct heap_thread *only) {
    bool was_known = only->previous_known != NULL;
    lock_reset(&known_lock);
    known = NULL, only->previous_known = NULL;
    if (was_known) kept_thread_begin(only);
}

/* Has it allocated or freed anything since the last sweep? Its own words, read from outside: any value will do. */
static bool is_idle(struct heap_thread *t) {
    uint64_t work = __atomic_load_n(t->allocated, __ATOMIC_RELAXED) + __atomic_load_n(t->freed, __ATOMIC_RELAXED) +
        __atomic_load_n(&t->kept_taken, __ATOMIC_RELAXED) + __atomic_load_n(&t->kept_given, __ATOMIC_RELAXED);
    bool idle = work == t->swept_work;
    t->swept_work = work;
    return idle;
}

/* What idle threads keep. */
static unsigned gather(bool all, struct kept_block *found) {
    unsigned n = 0;
    for (struct heap_thread *t = known; t; t = t->next_known) {
        if (!is_idle(t) && !all) continue;
        for (struct kept_block *k = t->kept; k < t->kept + KEPT_BLOCKS && n < SWEPT; k++) {
            void *p = claim(k);
            if (p) found[n++].usable = je_malloc_usable_size(p), atomic_init(&found[n - 1].at, p);
        }
    }
    return n;
}

void kept_sweep(bool all) {
    struct kept_block found[SWEPT];
    unsigned n;
    do {
        lock_take(&known_lock);
        n = gather(all, found);
        lock_release(&known_lock);
        for (unsigned i = 0; i < n; i++) release(atomic_load_explicit(&found[i].at, memory_order_relaxed), found[i].usable);
    } while (n == SWEPT);
}
