/* totals.h: the counters as readers want them: shares of threads and shards added up, and what follows from the sums.
 *
 * *Totals* are a copy made at one moment, without a lock: sums whose parts were published at different moments may
 * disagree a little, and are never negative for it. */
#ifndef COPPICE_STATS_TOTALS_H
#define COPPICE_STATS_TOTALS_H
#include "stats/counters.h"

/* The rows of a table of counters, as fields. */
#define TOTAL_FIELD(name, unit, help) uint64_t name;

/* Sums over slots; live_bytes by the equation of counters.h, 0 where slots that are published at different moments make it negative. */
struct host_totals { uint64_t allocs, frees, bytes_allocated, bytes_freed, live_bytes; };
struct host_totals counters_host_totals(const struct counters *c);

/* The interner's numbers as readers want them: the threads' shares added up. */
struct intern_totals {
    INTERN_COUNTERS(TOTAL_FIELD)
    SHARE_COUNTERS(TOTAL_FIELD)
    uint64_t lookups, hits, bytes_in, bytes_saved;
};
struct intern_totals intern_totals(const struct counters *c);

/* All pools of parameter structs together. */
struct params_totals {
    uint64_t live_bytes;
    PARAMS_COUNTERS(TOTAL_FIELD)
};
struct params_totals params_totals(const struct counters *c);
/* The site of a pool; NULL: not known. */
const struct site_counters *params_site(const struct counters *c, const struct params_counters *n);

/* A device's numbers as readers want them: the shards added up, cached_bytes derived from the conservation equation. */
struct device_totals {
    DEVICE_COUNTERS(TOTAL_FIELD)
    DEVICE_SHARD_COUNTERS(TOTAL_FIELD)
    uint64_t live_bytes, cached_bytes;
};
/* Live bytes: what is claimed and no shard has spare. */
uint64_t device_live(const struct device_counters *d);
/* Bytes cached in this context. */
uint64_t device_cached(const struct device_counters *d);
struct device_totals device_totals(const struct device_counters *d);

/* A tree's numbers as readers want them. */
struct dtesn_totals {
    DTESN_COUNTERS(TOTAL_FIELD)
    uint64_t compliant_allocations;
    struct { uint64_t membranes, budget_bytes, used_bytes, cached_bytes, below_bytes; } level[COUNTER_LEVELS]; /* below: held by it and deeper levels */
    struct { uint64_t live_bytes, allocs; } type[COUNTER_TYPES];
};
/* The numbers of tree[index]; false: there is none. */
bool dtesn_totals(const struct counters *c, unsigned index, struct dtesn_totals *totals);
#endif
