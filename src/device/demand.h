/* demand.h: how much device memory is worth keeping.
 * *Demand* is the most bytes that were live at once in the last minute. The pool keeps at most a tenth more than that
 * reserved (or 64 MiB more, which is not worth anybody's wait), so the device's peak stays near the program's own, and memory that a burst needed goes back to the driver
 * a minute after it (a sliding maximum: within twice the optimum in theory, and the best simple policy on recorded
 * demand). POOL_MAX bounds what is cached besides.
 *
 * The hit path only compares live bytes with `now`; time is looked at by slow paths and every few dozen frees. */
#ifndef COPPICE_DEVICE_DEMAND_H
#define COPPICE_DEVICE_DEMAND_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { DEMAND_SLOTS = 12 };
#define DEMAND_SLOT_NS 5000000000u

struct demand {
    _Atomic uint64_t now;   /* most live bytes in the present slot; raised by anyone */
    _Atomic uint64_t keep;  /* bytes worth having reserved: what a free compares with */
    _Atomic uint64_t ends;  /* CLOCK_MONOTONIC ns at which the present slot ends */
    _Atomic uint64_t past[DEMAND_SLOTS]; /* maxima of the slots before it, a ring */
    _Atomic uint32_t next;
};

/* Live bytes have risen above `now`. */
void demand_rises(struct demand *d, uint64_t live);
/* Looks at the clock: begins new slots as time has passed, with `live` as their first value. */
void demand_tick(struct demand *d, uint64_t live, uint64_t now_ns);
/* Bytes worth having reserved when `live` are live. */
uint64_t demand_keep(const struct demand *d, uint64_t live);
#endif
