/* budget.h: the heap's place in the tree of membranes.
 *
 * A thread's memory belongs to a membrane, chosen by its jemalloc arena. Budget is taken in batches: what a thread has
 * taken and not used is its *grant*; publications (heap/thread.h) use it up and fill it, and only when it leaves
 * 0..2 HEAP_GRANT are the membranes asked or given back to. So what the tree holds is right to two batches a thread, and
 * a pair of malloc and free costs nothing more.
 * The tree is made late: `sh` and `ls` never need one. Until then the grant is a debt that only grows.
 * At the limit a *soft* tree gives free memory back to the system (once a second at most) and goes over the limit; a
 * *hard* one refuses: exact for blocks of HEAP_LARGE and more, others may go beyond by what a thread allocates between
 * two publications (64 blocks). */
#ifndef COPPICE_HEAP_BUDGET_H
#define COPPICE_HEAP_BUDGET_H
#include "base/hints.h"
#include "base/options.h"
#include "dtesn/membranes.h"
#include <stdbool.h>
#include <stddef.h>

enum { HEAP_GRANT = 256 << 10 };
struct heap_thread;

static inline bool heap_budget_is_hard(void) { return option_number(dtesn_hard) && option_number(dtesn); }
/* The thread's grant is out of bounds. */
void heap_budget_adjust(struct heap_thread *t) COLD;
/* May the calling thread have `size` bytes more? Under a hard limit false is ENOMEM. */
bool heap_budget_admit(size_t size) COLD;
static inline bool heap_admit(size_t size) { return likely(!heap_budget_is_hard()) || heap_budget_admit(size); }
/* Makes the tree if it is not there: for those who are about to show it. Async-signal-safe. */
void heap_budget_show(void);
/* Free memory went back to the system, in that time. */
void heap_budget_consolidated(size_t bytes, uint64_t ns);
/* Live bytes of a type, for the tree's statistics. */
void heap_budget_type_is(unsigned type, uint64_t live_bytes);
/* Now and then, from any thread; once a second it acts: budgets that nobody uses go up. */
void heap_budget_settle(uint64_t now_ns);
/* The thread ends: its grant is everybody's. */
void heap_budget_thread_end(struct heap_thread *t);
void heap_budget_fork_child(void);
#endif
