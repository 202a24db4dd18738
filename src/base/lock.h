/* lock.h: the locks of Coppice, and the order in which they may be taken.
 * A *lock* is one word: 0 free, 1 held, 2 held with waiters; uncontended it costs one atomic exchange and one store.
 * It sleeps on a futex after a short spin. It can be used before libc is initialised and inside malloc.
 * A *rank* orders locks: a thread may only take a lock whose rank is higher than any it holds (checked in debug
 * builds). fork() takes every registered lock in rank order and releases them in both processes. */
#ifndef COPPICE_BASE_LOCK_H
#define COPPICE_BASE_LOCK_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
    RANK_START,     /* one-time initialisation */
    RANK_IMPORT,    /* device: who maps another process's memory, or unmaps it */
    RANK_SETTLE,    /* device: who asks who else has the same weights */
    RANK_HOLD,      /* device: submissions are held */
    RANK_WEIGHTS,   /* device: states of weights */
    RANK_CAPTURE,   /* device: captures against event recording */
    RANK_DRIVER,    /* device: resolving the real functions, context list */
    RANK_EXPORTS,   /* device: the tables of blocks that were shown to others, and of those of others */
    RANK_CONTEXT,   /* device: one context's slow paths */
    RANK_FENCE,     /* device: one context's epochs */
    RANK_STREAMS,   /* device: the table of known streams */
    RANK_SHARD,     /* device: a shard of a context's cache, by its number */
    RANK_SHARD_LAST = RANK_SHARD + 15,
    RANK_BLOCKS,    /* device: inserting into the table of blocks */
    RANK_INTERN,    /* intern: whoever adds to the table or takes from it */
    RANK_SITES,     /* sites: whoever adds a site */
    RANK_PACKED,    /* host: blocks that lie side by side */
    RANK_HEAP,      /* host: segments of the heap's address space */
    RANK_REACH,     /* host: pages are out of reach */
    RANK_COUNTERS,  /* new thread slots and names in the counters; a leaf: nothing is taken under it */
    RANK_TRACE,     /* device: one stripe of the trace */
    RANK_TRACE_FILE, /* device: the trace's file; a leaf */
    RANK_SIGNALS,   /* what the program installed for the watched signal; a leaf */
    RANK_COUNT
};

struct lock {
    _Atomic uint32_t word;
    uint32_t rank;
};
#define LOCK_INIT(r) { 0, (r) }

void lock_wait(struct lock *l) COLD;
void lock_wake(struct lock *l) COLD;
#ifdef COPPICE_DEBUG
void lock_rank_enter(const struct lock *l);
void lock_rank_leave(const struct lock *l);
#else
static inline void lock_rank_enter(const struct lock *l) { (void)l; }
static inline void lock_rank_leave(const struct lock *l) { (void)l; }
#endif

static inline bool lock_try(struct lock *l) {
    uint32_t expected = 0;
    if (!atomic_compare_exchange_strong_explicit(&l->word, &expected, 1, memory_order_acquire, memory_order_relaxed)) return false;
    lock_rank_enter(l);
    return true;
}
static inline void lock_take(struct lock *l) {
    uint32_t expected = 0;
    if (unlikely(!atomic_compare_exchange_strong_explicit(&l->word, &expected, 1, memory_order_acquire, memory_order_relaxed)))
        lock_wait(l);
    lock_rank_enter(l);
}
/* True: others wait, and the caller must wake one (lock_wake). */
static inline bool lock_let_go(struct lock *l) {
    lock_rank_leave(l);
    return unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2);
}
static inline void lock_release(struct lock *l) {
    if (lock_let_go(l)) lock_wake(l);
}
/* In a fork's child: whoever held it is gone. */
static inline void lock_reset(struct lock *l) { atomic_store(&l->word, 0); }
#endif
