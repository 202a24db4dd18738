/* thread.h: what the heap knows of each thread, and how its numbers reach the counters.
 *
 * A *turn* is one call of the malloc family. Its fast half is inline and costs a subtraction, a branch and one increment
 * of a word that only this thread writes. `credit` runs down by one a turn, and to nothing when 64 KiB or more are asked for;
 * at its end the slow half *publishes*: jemalloc's own byte counts of this thread go to its slot. A new thread, a thread
 * after its end and a process that is not in force have no credit, so the fast half needs no other test. A killed
 * process's numbers are therefore right to the last 64 calls for less than 64 KiB of each thread. */
#ifndef COPPICE_HEAP_THREAD_H
#define COPPICE_HEAP_THREAD_H
#include "base/hints.h"
#include "heap/heap.h"
#include "stats/counters.h"
#include <stdint.h>

enum { HEAP_CREDIT = 64, HEAP_LARGE = HEAP_CREDIT << 10 };

enum thread_state {
    THREAD_NEW,   /* has no slot yet: the zero of a new thread */
    THREAD_LIVE,  /* owns a slot */
    THREAD_SHARED /* counts in `own` and adds that to the shared slot at each publication: no slot was left, the thread
                     has ended, or the process is a fork's child that has done too little to deserve a file */
};

struct heap_thread {
    int64_t credit;
    struct thread_counters *slot;        /* valid while there is credit */
    const uint64_t *allocated, *freed;   /* jemalloc's counts of this thread, in its own TLS */
    uint64_t told_allocated, told_freed; /* what of them has been published */
    uint32_t state;                      /* enum thread_state */
    uint32_t inside;                     /* locks of the heap that this thread holds */
    uint32_t rounds;                     /* of key destructors seen */
    struct thread_counters *own;         /* in THREAD_SHARED: the numbers since the last publication */
};
extern _Thread_local struct heap_thread heap_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The fast half of an allocation: true when it is counted and jemalloc may be asked at once. */
static inline bool heap_take(size_t size) {
    struct heap_thread *t = &heap_thread;
    t->credit -= 1 + (int64_t)(size >> 10 & -(size_t)HEAP_CREDIT);
    if (unlikely(t->credit < 0)) return false;
    counter_bump(&t->slot->allocs, 1);
    return true;
}
/* The same of a free; false for what is not obviously ours, too. */
static inline bool heap_give(const void *p) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(!heap_owns_fast(p) || --t->credit < 0)) return false;
    counter_bump(&t->slot->frees, 1);
    return true;
}

/* The slow half, for a process in force. Makes the thread known if it is new. */
void heap_thread_ready(void) COLD;
/* Counts calls that went the slow way, and publishes. Call it after jemalloc. */
void heap_publish(unsigned allocs, unsigned frees) COLD;
/* Publishes, and nothing else: for exit paths and handlers. Async-signal-safe. */
void heap_thread_tell(void);
/* After a free whose size may be large: publishes if it was. */
static inline void heap_publish_large(void) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(*t->freed - t->told_freed >= HEAP_LARGE)) heap_publish(0, 0);
}

/* Once, after heap_init: the key whose destructor ends threads. */
void heap_threads_init(void);
/* In a fork's child: the thread's numbers stay its own until it has made 64 more turns. */
void heap_thread_fork_child(void);
/* Opens the counters of a fork's child that has none yet. Exit paths and device code call it before they count. */
void heap_settle_child(void);
#endif
