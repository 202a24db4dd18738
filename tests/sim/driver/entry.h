/* entry.h: what every exported function does before and after the work.
 * A *call* is counted by name in this process's slot; a call that ends in an error is also counted as wrong.
 * Everything else that can happen on the way in (not initialised, forked, injected fault, cost model, capture rules, log)
 * is rare and lies behind one flag, `entry_slow`, so that a plain call pays two increments and one branch. */
#ifndef SIM_ENTRY_H
#define SIM_ENTRY_H
#include "sim.h"
#include "ids.h"

enum { CALL_NEEDS_INIT = 1, CALL_CAPTURE_UNSAFE = 2, CALL_PER_THREAD = 4 };
#define EXPORT __attribute__((visibility("default")))

extern _Atomic int entry_slow;           /* how many reasons there are to look closer */
extern struct set_slot *entry_slot;      /* this process's counters; before cuInit a private stand-in */

CUresult call_enter_slow(int id, int flags);
CUresult call_failed(int id, CUresult result);
CUresult call_declined(int id);
void entry_look_closer(int delta);
const char *call_name(int id);
int call_id(const char *name);           /* -1: unknown */

static inline void call_count(int id) {
    atomic_fetch_add_explicit(&entry_slot->calls[id], 1, memory_order_relaxed);
}

/* The per-thread flag is what makes stream 0 mean the thread's own default stream; it is restored for nested use. */
#define CALL(id, flags, work)                                                                      \
    do {                                                                                           \
        call_count(id);                                                                            \
        bool outer_ = self.per_thread;                                                             \
        self.per_thread = ((flags) & CALL_PER_THREAD) && !mutated(MUTATION_ptds_legacy);           \
        CUresult result_ = CUDA_SUCCESS;                                                           \
        if (__builtin_expect(atomic_load_explicit(&entry_slow, memory_order_relaxed) != 0, 0))     \
            result_ = call_enter_slow(id, flags);                                                  \
        if (result_ == CUDA_SUCCESS) result_ = work;                                               \
        self.per_thread = outer_;                                                                  \
        return __builtin_expect(result_ == CUDA_SUCCESS, 1) ? result_ : call_failed(id, result_);  \
    } while (0)
#endif
