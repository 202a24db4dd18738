/* demand.h: how much free memory is worth keeping, for a device's pool and for the host's heap alike.
 * *Demand* is bytes that are live. What was not needed for a while goes back; how long a while is, COPPICE_PREDICTOR says:
 *   window  the most bytes that were live at once in the last minute are worth having (a sliding maximum: within twice
 *           the optimum in theory, and the best simple policy on recorded demand)
 *   ar      what a model that learns the program's demand expects of the next minute (predictor.h), once it has learned
 *           enough; the window until then
 *   timer   once a minute, what was not needed since the last time goes back
 * At most a tenth more than a past maximum is worth keeping (or 32 MiB more, which is not worth anybody's wait), so the
 * peak stays near the program's own, and memory that a burst needed goes back soon after it. A forecast stands for
 * itself: it knows what goes up. docs/RESULTS.md compares the three.
 *
 * The hit path only compares live bytes with `now`; time is looked at by slow paths and every few dozen frees. */
#ifndef COPPICE_DTESN_DEMAND_H
#define COPPICE_DTESN_DEMAND_H
#include "dtesn/predictor.h"
#include <stdatomic.h>
#include <stdint.h>

enum { DEMAND_SLOTS = 12 };
#define DEMAND_SLOT_NS 5000000000u

struct demand {
    _Atomic uint64_t now;   /* most live bytes in the present slot; raised by anyone */
    _Atomic uint64_t keep;  /* bytes worth having: what a free compares with */
    _Atomic uint64_t ends;  /* CLOCK_MONOTONIC ns at which the present slot ends */
    _Atomic uint64_t past[DEMAND_SLOTS]; /* maxima of the slots before it, a ring */
    _Atomic uint32_t next;
    _Atomic uint64_t forecast; /* of the model, plus 1; 0: there is none */
    /* how many blocks are live by size class, for the model; NULL: not known. Set before the first tick. */
    void (*count)(const struct demand *d, uint32_t count[PREDICTOR_CLASSES]);
    atomic_flag busy; /* somebody ends a slot */
    struct predictor model; /* touched by whoever is busy */
};

/* Live bytes have risen above `now`. */
void demand_rises(struct demand *d, uint64_t live);
/* Looks at the clock: begins new slots as time has passed, with `live` as their first value. */
void demand_tick(struct demand *d, uint64_t live, uint64_t now_ns);
/* The most bytes that were live at once in the last minute. */
uint64_t demand_most(const struct demand *d);
/* Bytes worth having when `live` are live. */
uint64_t demand_keep(const struct demand *d, uint64_t live);
/* What is in use just now (five to ten seconds; with the timer, one to two minutes): all that is kept where memory is tight. */
uint64_t demand_recent(const struct demand *d, uint64_t live);
/* In a fork's child: a thread that was ending a slot is gone. */
static inline void demand_fork_child(struct demand *d) { atomic_flag_clear(&d->busy); }
#endif
