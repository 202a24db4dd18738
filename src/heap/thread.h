/* thread.h: what the heap knows of each thread, and how its numbers reach the counters.
 *
 * A *turn* is one call of the malloc family. Its fast half is inline and costs one compare, one decrement of a word in
 * TLS and one branch: the *credit*, which is also the count of calls. When 64 allocations or 64 frees are used up, or
 * 64 KiB or more are asked for or freed at once, the slow half *publishes*: the counts and jemalloc's own byte counts of
 * this thread go to its slot. A new thread, a thread after its end and a process that is not in force have no credit, so
 * the fast half needs no other test. A killed process's numbers are therefore right to the last 64 allocations and 64
 * frees of each thread, none of them of 64 KiB or more. */
#ifndef COPPICE_HEAP_THREAD_H
#define COPPICE_HEAP_THREAD_H
#include "base/hints.h"
#include "heap/heap.h"
#include "heap/kept.h"
#include "sites/site.h"
#include "stats/counters.h"
#include <stdint.h>

enum { HEAP_CREDIT = 64, HEAP_LARGE = 64 << 10, KNOWN_CALLERS = 16,
    HEAP_LIVES = TYPE_PARAMS + 1, HEAP_TYPES /* memory of which each block is known (life.h) lives as if it were a type */ };

enum thread_state {
    THREAD_NEW,   /* has no slot yet: the zero of a new thread */
    THREAD_LIVE,  /* owns a slot */
    THREAD_SHARED /* counts in `own` and adds that to the shared slot at each publication: no slot was left, the thread
                     has ended, or the process is a fork's child that has done too little to deserve a file */
};

struct heap_thread {
    int32_t takes, gives;                /* credit: allocations and frees left until publication; negative when overdrawn */
    int32_t granted;                     /* what both began with: granted - bias - takes allocations are unpublished */
    int32_t bias;                        /* HEAP_CREDIT in a thread whose allocations may have types: takes is never positive
                                            then, so each comes to the slow half; else 0 */
    struct thread_counters *slot;        /* where this thread publishes */
    const uint64_t *allocated, *freed;   /* jemalloc's counts of this thread, in its own TLS */
    uint64_t told_allocated, told_freed; /* what of them has been published */
    uint32_t state;                      /* enum thread_state */
    uint32_t inside;                     /* locks of the heap that this thread holds */
    uint32_t until_rare;                 /* publications until the rare work is looked at */
    struct kept_block kept[KEPT_BLOCKS];
    uint64_t kept_taken, kept_given;     /* corrections of *allocated and *freed (heap/kept.h) */
    struct heap_thread *next_known, **previous_known; /* the list of those who may be asked for it */
    uint64_t swept_work;                 /* bytes ever moved, as of the last sweep */
    uint32_t rounds;                     /* of key destructors seen */
    int64_t grant;                       /* heap/budget.h: budget taken and not used */
    uint32_t membrane;                   /* where it is taken, if */
    uint32_t until_aged;                 /* rare looks until what it has at hand ages */
    bool packs;                          /* biased for packing alone: no type, no rule */
    bool has_membrane, tight;            /* tight: a hard limit has refused; no credit until it does not */
    const void *caller;                  /* who asked, for the slow half */
    uintptr_t salt;                      /* of what `known` says: another one makes all of it stale */
    struct known { uintptr_t caller; uint64_t least, span; struct kind kind; } known[KNOWN_CALLERS]; /* what was found of callers and sizes */
    int typed_flags[HEAP_TYPES];         /* heap/typed.h: how this thread uses the type; 0: not yet */
    uint16_t typed_cache[HEAP_TYPES];    /* 1 + its cache */
    struct typed_small *typed_small;     /* small blocks of types at hand; NULL: none yet */
    struct hand *hand;                   /* packed blocks at hand (heap/hand.h); NULL: none yet */
    int32_t until_sample;                /* classified allocations until one is counted for its site */
    struct thread_counters *own;         /* in THREAD_SHARED: the numbers since the last publication */
};
extern _Thread_local struct heap_thread heap_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The fast half of an allocation: true when jemalloc may be asked at once. A large one is not counted here (that would be
 * two instructions more). */
static inline bool heap_take(size_t size) { return likely(size < HEAP_LARGE) && likely(--heap_thread.takes >= 0); }
/* The same of a free, for what lies in the first segment; anything else is false and not counted. */
static inline bool heap_give(const void *p) { return likely(heap_owns_fast(p)) && likely(--heap_thread.gives >= 0); }

/* The slow half, for a process in force. Makes the thread known if it is new. */
void heap_thread_begin(void) COLD;
static inline void heap_thread_ready(void) {
    if (unlikely(heap_thread.state == THREAD_NEW)) heap_thread_begin();
}
/* Allocations of this thread may have types from now on, or not: asks the pushed types and the rules. */
void heap_thread_classify(void);
static inline void heap_thread_credit(struct heap_thread *t, int32_t credit) { t->gives = t->granted = credit, t->takes = credit - t->bias; }
/* A classified thread's allocation that need not be published yet. */
static inline bool heap_thread_may_wait(const struct heap_thread *t, size_t size) {
    return t->bias && t->granted && size < HEAP_LARGE && t->takes > -HEAP_CREDIT;
}
/* Publishes, and looks after the rare numbers. Call it after jemalloc. */
void heap_publish(void);
/* Publishes, and nothing else: for exit paths and handlers. Async-signal-safe. */
void heap_thread_tell(void);
/* This thread's bytes until now. */
static inline uint64_t heap_thread_allocated(const struct heap_thread *t) { return *t->allocated + t->kept_taken; }
static inline uint64_t heap_thread_freed(const struct heap_thread *t) { return *t->freed + t->kept_given; }
/* heap_publish after a free or a change of size. Where allocations are sampled when their credit is used up (intern/observe.h), it stays as far
 * from that as it was: a program that frees much would else never come to a sample. */
extern bool heap_credit_samples;
void heap_publish_freed(void);
/* After a free whose size may be large: publishes if it was. */
static inline void heap_publish_large(void) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(heap_thread_freed(t) - t->told_freed >= HEAP_LARGE)) heap_publish_freed();
}

/* Once, after heap_init: the key whose destructor ends threads. */
void heap_threads_init(void);
/* In a fork's child: the thread's numbers stay its own until it has made 1024 calls, allocated 1 MiB or started a thread. */
void heap_thread_fork_child(void);
/* Opens the counters of a fork's child that has none yet. Exit paths and device code call it before they count. */
void heap_settle_child(void);
#endif
