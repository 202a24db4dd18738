/* tree_totals.c: a tree's counters as readers want them: shards added up, what follows from the sums derived. */
#include "stats/counters.h"

const char *const counter_types[COUNTER_TYPES] = { "untyped", "episodic", "procedural", "semantic", "emotional" };

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

static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

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

bool dtesn_totals(const struct counters *c, unsigned index, struct dtesn_totals *sum) {
    const struct dtesn_counters *tree = &c->tree[index];
    uint64_t live[COUNTER_LEVELS] = { 0 }, allocs = 0;
    if (!counter_get(&tree->in_use)) return false;
    *sum = (struct dtesn_totals){ 0 };
#define X(name, unit, help) sum->name = counter_get(&tree->name);
    DTESN_COUNTERS(X)
#undef X
    if (sum->depth > COUNTER_LEVELS) sum->depth = COUNTER_LEVELS; /* somebody else's file */
    if (index > 0) add_cells(c, counter_get(&tree->device), live, sum);
    level_totals(tree, live, index == 0, sum);
    for (unsigned type = 0; type < COUNTER_TYPES; type++) allocs += sum->type[type].allocs;
    for (unsigned type = 0; type < COUNTER_TYPES && index == 0; type++) sum->type[type].live_bytes = counter_get(&tree->type_live_bytes[type]);
    if (index == 0) allocs = counters_host_totals(c).allocs;
    sum->compliant_allocations = less(allocs, sum->borrowed_allocations);
    return true;
}
