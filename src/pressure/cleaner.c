/* cleaner.c: see cleaner.h. */
#include "pressure/cleaner.h"
#include "base/clock.h"
#include "base/options.h"
#include "device/pool.h"
#include "heap/budget.h"
#include "heap/heap.h"
#include "heap/life.h"
#include "heap/kept.h"
#include "heap/zero.h"
#include "intern/table.h"
#include "pressure/senses.h"
#include "stats/totals.h"
#include <string.h>

enum { QUIET_TURNS = 10, QUIET_ALLOCATIONS = 1000 };
#define SECOND 1000000000ull
#define SOON (SECOND / 10)
#define LITTLE ((uint64_t)16 << 20)
#define LONGEST (60 * SECOND)
#define ZERO_SLICE (SECOND / 100)
#define ZERO_REST (5 * SECOND) /* between two passes at one hundredth of a processor */

/* Between turns; the service thread alone. */
static struct {
    uint64_t timed_ns;  /* of the last timed cleanup; 0: none yet */
    uint64_t turn_ns, look_ns, zeros_ns; /* of the next full turn, look, search for zeros */
    uint64_t allocated; /* allocations until the last full turn */
    unsigned quiet;     /* full turns in a row in which nearly nothing was allocated */
    struct cleaner_patience host, device;
} state;

bool cleaner_may(const struct cleaner_patience *p, uint64_t now_ns) { return now_ns >= p->next_ns; }

void cleaner_did(struct cleaner_patience *p, uint64_t now_ns, uint64_t released) {
    uint64_t longer = p->wait_ns * 2;
    p->wait_ns = released >= LITTLE || p->wait_ns == 0 ? SECOND : longer < LONGEST ? longer : LONGEST;
    p->next_ns = now_ns + p->wait_ns;
}

static void released(uint64_t bytes) { counter_add(&counters->pressure.bytes_released, bytes); }
static void cleaned(uint64_t bytes) { counter_add(&counters->pressure.cleanups, 1), released(bytes); }

static void answer(struct cleaner_patience *p, uint64_t now, uint64_t bytes) {
    cleaner_did(p, now, bytes);
    counter_add(&counters->pressure.pressed, 1);
    cleaned(bytes);
}

static void publish(const struct senses_reading *r) {
    struct pressure_counters *p = &counters->pressure;
    counter_set(&p->level, r->level), counter_set(&p->source, r->source), counter_set(&p->fullness, r->fullness);
    counter_add(&p->looks, 1);
}

static void under_pressure(const struct senses_reading *r, uint64_t now) {
    if (r->host > PRESSURE_NONE && cleaner_may(&state.host, now)) answer(&state.host, now, heap_purge() + pool_host_is_tight());
    if (r->device > PRESSURE_NONE && cleaner_may(&state.device, now)) answer(&state.device, now, pool_chore(true));
}

static void timed(uint64_t now, bool too_much) {
    uint64_t interval = option_number(cleanup_interval);
    if (state.timed_ns == 0) state.timed_ns = now;
    if (interval == 0 || now - state.timed_ns < interval) return;
    state.timed_ns = now;
    if (intern_ready()) intern_expire(now);
    cleaned(too_much ? heap_purge() : 0);
}

static void idle(void) {
    uint64_t allocated = counters_host_totals(counters).allocs;
    bool quiet = allocated - state.allocated < QUIET_ALLOCATIONS;
    state.allocated = allocated;
    state.quiet = quiet ? state.quiet + 1 : 0;
    if (state.quiet == QUIET_TURNS) cleaned(heap_purge());
}

/* What needs no look more often than once a second. */
static void full_turn(uint64_t now) {
    kept_sweep(false);
    heap_decay();
    heap_budget_settle(now);
    heap_refresh_resident(); /* a program that has stopped allocating does not */
    life_sweep(now);
    released(pool_chore(false));
    timed(now, heap_keeps_too_much(now));
    idle();
}

/* Pages of zeros. Returns the time until the next piece of work: a slice of processor time, then a rest that makes it
 * the part of a processor that is allowed. */
static uint64_t zeros(uint64_t now) {
    uint64_t percent = option_number(zero_reclaim_cpu);
    if (option_number(zero_reclaim) == ZERO_RECLAIM_OFF || !heap_is_large()) return SECOND;
    if (now >= state.zeros_ns) {
        uint64_t before = counter_get(&counters->host.zero_cpu_ns);
        released(heap_zero_look(now, ZERO_SLICE, ZERO_REST / percent));
        uint64_t used = counter_get(&counters->host.zero_cpu_ns) - before;
        state.zeros_ns = now + (used > ZERO_SLICE / 10 ? used : ZERO_SLICE / 10) * 100 / percent;
    }
    return state.zeros_ns > now ? state.zeros_ns - now : 1;
}

/* Returns the time until the next look: tight soon, the last fifth below the threshold, is looked at closely. */
static uint64_t look(uint64_t now) {
    struct senses_reading r = senses_look(now);
    publish(&r);
    under_pressure(&r, now);
    return r.fullness * 5 >= option_number(pressure) * 4 ? SOON : SECOND;
}

uint64_t cleaner_turn(void) {
    uint64_t now = clock_ns();
    if (now >= state.turn_ns) full_turn(now), state.turn_ns = now + SECOND;
    if (now >= state.look_ns) state.look_ns = now + look(now);
    uint64_t next = zeros(now), left = state.look_ns < state.turn_ns ? state.look_ns : state.turn_ns;
    left = left > now ? left - now : 1;
    return next < left ? next : left;
}

void cleaner_fork_child(void) {
    memset(&state, 0, sizeof state);
    heap_zero_fork_child();
    senses_forget();
}
