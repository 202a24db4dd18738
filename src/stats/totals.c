/* totals.c: see totals.h. */
#include "stats/totals.h"
#include <stddef.h>

/* The rows of a table: of counters at `from`, into totals, and added to them. */
#define TAKE(name, unit, help) sum.name = counter_get(&from->name);
#define ADD(name, unit, help) sum.name += counter_get(&from->name);

static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* --- the host and the interner: by thread */

static void add_slot(struct host_totals *sum, const struct thread_counters *slot) {
    sum->allocs += counter_get(&slot->allocs);
    sum->frees += counter_get(&slot->frees);
    sum->bytes_allocated += counter_get(&slot->bytes_allocated);
    sum->bytes_freed += counter_get(&slot->bytes_freed);
}

struct host_totals counters_host_totals(const struct counters *c) {
    struct host_totals sum = { 0 };
    uint64_t ready = counter_get(&c->threads_ready);
    for (uint64_t i = 0; i < ready && i < COUNTER_THREADS; i++) add_slot(&sum, &c->thread[i]);
    add_slot(&sum, &c->late);
    sum.live_bytes = less(counter_get(&c->inherited_bytes) + sum.bytes_allocated, sum.bytes_freed);
    return sum;
}

static void add_intern_slot(struct intern_totals *sum, const struct thread_counters *slot) {
    sum->hits += counter_get(&slot->intern_hits); /* before the lookups that they are part of */
    sum->bytes_in += counter_get(&slot->intern_bytes_in);
    sum->lookups += counter_get(&slot->intern_lookups);
}

struct intern_totals intern_totals(const struct counters *c) {
    struct intern_totals sum = { 0 };
    const struct intern_counters *from = &c->intern;
    INTERN_COUNTERS(TAKE)
    SHARE_COUNTERS(TAKE)
    uint64_t ready = counter_get(&c->threads_ready);
    for (uint64_t i = 0; i < ready && i < COUNTER_THREADS; i++) add_intern_slot(&sum, &c->thread[i]);
    add_intern_slot(&sum, &c->late);
    sum.bytes_saved = less(sum.bytes_in, sum.bytes_added);
    return sum;
}

struct params_totals params_totals(const struct counters *c) {
    struct params_totals sum = { 0 };
    for (const struct params_counters *from = c->params; from < c->params + COUNTER_PARAMS; from++) {
        PARAMS_COUNTERS(ADD)
        sum.live_bytes += counter_get(&from->size) * counter_get(&from->live_objects);
    }
    return sum;
}

const struct site_counters *params_site(const struct counters *c, const struct params_counters *n) {
    uint64_t site = counter_get(&n->site), used = counter_get(&c->sites_used);
    return site - 1 < used && site - 1 < COUNTER_SITES && counter_get(&c->site[site - 1].in_use) ? &c->site[site - 1] : NULL;
}

/* --- a device: by shard */

uint64_t device_live(const struct device_counters *d) {
    uint64_t spare = 0;
    for (const struct device_shard_counters *from = d->shard; from < d->shard + COUNTER_SHARDS; from++) spare += counter_get(&from->spare_bytes);
    return less(counter_get(&d->claimed_bytes), spare);
}
uint64_t device_cached(const struct device_counters *d) {
    return less(counter_get(&d->reserved_bytes), device_live(d) + counter_get(&d->rounding_bytes));
}

static struct device_totals without_shards(const struct device_counters *from) {
    struct device_totals sum = { 0 };
    DEVICE_COUNTERS(TAKE)
    return sum;
}

struct device_totals device_totals(const struct device_counters *d) {
    struct device_totals sum = without_shards(d);
    for (const struct device_shard_counters *from = d->shard; from < d->shard + COUNTER_SHARDS; from++) {
        DEVICE_SHARD_COUNTERS(ADD)
    }
    sum.live_bytes = device_live(d);
    sum.cached_bytes = less(sum.reserved_bytes, sum.live_bytes + sum.rounding_bytes);
    return sum;
}

/* --- a tree of membranes: by context, shard, type and level */

/* Live bytes by level and type, of every context on the tree's device. */
static void add_cells(const struct counters *c, uint64_t device, uint64_t live[COUNTER_LEVELS], struct dtesn_totals *sum) {
    for (unsigned i = 0; i < COUNTER_DEVICES; i++) {
        if (!counter_get(&c->device[i].in_use) || counter_get(&c->device[i].id) != device) continue;
        for (unsigned shard = 0; shard <= COUNTER_SHARDS; shard++)
            for (unsigned type = 0; type < COUNTER_TYPES; type++)
                for (unsigned level = 0; level < COUNTER_LEVELS; level++) {
                    const struct dtesn_cell *cell = &c->cells[i].shard[shard].cell[type][level];
                    live[level] += counter_get(&cell->live_bytes);
                    sum->type[type].live_bytes += counter_get(&cell->live_bytes);
                    sum->type[type].allocs += counter_get(&cell->allocs);
                }
    }
}

static void level_totals(const struct dtesn_counters *tree, const uint64_t live[COUNTER_LEVELS], bool host, struct dtesn_totals *sum) {
    uint64_t below = 0;
    for (unsigned i = COUNTER_LEVELS; i-- > 0;) {
        const struct dtesn_level_counters *l = &tree->level[i];
        uint64_t held = counter_get(&l->held_bytes), cached = counter_get(&l->cached_bytes);
        uint64_t used = host ? less(held, cached) : live[i] + counter_get(&l->rounding_bytes);
        sum->level[i].membranes = counter_get(&l->membranes);
        sum->level[i].budget_bytes = counter_get(&l->budget_bytes);
        sum->level[i].used_bytes = used;
        sum->level[i].cached_bytes = less(held, used);
        sum->level[i].below_bytes = below += held;
    }
}

bool dtesn_totals(const struct counters *c, unsigned index, struct dtesn_totals *totals) {
    const struct dtesn_counters *from = &c->tree[index];
    const bool host = index == 0;
    uint64_t live[COUNTER_LEVELS] = { 0 }, allocs = 0;
    struct dtesn_totals sum = { 0 };
    if (!counter_get(&from->in_use)) return false;
    DTESN_COUNTERS(TAKE)
    if (sum.depth > COUNTER_LEVELS) sum.depth = COUNTER_LEVELS; /* somebody else's file */
    if (!host) add_cells(c, counter_get(&from->device), live, &sum);
    level_totals(from, live, host, &sum);
    for (unsigned type = 0; type < COUNTER_TYPES; type++) {
        allocs += sum.type[type].allocs;
        if (host) sum.type[type].live_bytes = counter_get(&from->type_live_bytes[type]);
    }
    if (host) allocs = counters_host_totals(c).allocs;
    sum.compliant_allocations = less(allocs, sum.borrowed_allocations);
    *totals = sum;
    return true;
}
