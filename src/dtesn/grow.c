/* grow.c: a tree of membranes is made: its shape, its first budgets, and where each type's memory belongs. */
#include "dtesn/membranes.h"
#include "base/sys.h"
#include <string.h>
#include <sys/mman.h>

/* A membrane is large enough for a request of a quarter of what it keeps for its own. */
enum { OWN_IN_REQUESTS = 4, SUBTREES = COPPICE_TYPES - COPPICE_EPISODIC };

static size_t bytes_of(uint32_t count) { return count * (sizeof(struct membrane) + sizeof(uint32_t)); }

static void shape(struct membranes *t, enum tree_pattern pattern, const struct tree *tree, uint32_t parent) {
    struct tree child;
    const uint32_t id = t->count++;
    t->node[id].parent = parent, t->node[id].level = tree->nodes;
    for (unsigned below = TREE_FIRST; tree->nodes < t->depth && tree_child(pattern, tree, &below, &child);) shape(t, pattern, &child, id);
    t->node[id].end = t->count;
}

/* Depth-first order keeps the order of ranks within each level. */
static void list_levels(struct membranes *t) {
    uint32_t next = 0;
    for (unsigned level = 1; level <= t->depth; level++)
        for (uint32_t id = 0; id < t->count; id++)
            if (t->node[id].level == level) t->by_level[next++] = id;
}

/* Of what a membrane has, an equal part for each level from its own to the deepest stays; the rest goes to the children
 * by the number of membranes that each begins. What the division leaves over stays too. */
static void share_out(struct membranes *t, uint32_t id) {
    struct membrane *m = &t->node[id];
    const int64_t has = atomic_load(&m->budget), levels = t->depth - m->level + 1, rest = has - has / levels;
    int64_t given = 0;
    for (uint32_t c = id + 1; c < m->end; c = t->node[c].end) {
        int64_t part = (int64_t)((__int128)rest * (t->node[c].end - c) / (m->end - id - 1));
        atomic_store(&t->node[c].budget, part), t->node[c].share = part;
        given += part;
    }
    atomic_store(&m->free, has - given);
}

/* --- where a type belongs */

/* The first level with a membrane for each type, by pattern: 4 for rooted trees; beyond the depth when there is none. */
static unsigned level_of_types(const struct membranes *t, const uint32_t *start) {
    unsigned level = 1;
    while (level <= t->depth && start[level] - start[level - 1] < SUBTREES) level++;
    return level;
}

/* The ids of a type's subtrees: those of the membranes of the types' level, dealt out in order of rank, the first types first. */
struct region { uint32_t first, end; };
static struct region region_of(const struct membranes *t, unsigned type, unsigned level, const uint32_t *start) {
    if (level > t->depth) return (struct region){ 0, t->count };
    uint32_t n = start[level] - start[level - 1], from = (type * n + SUBTREES - 1) / SUBTREES, to = ((type + 1) * n + SUBTREES - 1) / SUBTREES;
    const uint32_t *roots = &t->by_level[start[level - 1]];
    return (struct region){ roots[from], t->node[roots[to - 1]].end };
}

/* The region's membranes of one level; above the types' level, which belongs to everybody, the ancestor. */
static struct membrane_range range_at(const struct membranes *t, struct region r, unsigned level, const uint32_t *start) {
    struct membrane_range range = { start[level], 0, level };
    for (uint32_t i = start[level - 1]; i < start[level]; i++) {
        uint32_t id = t->by_level[i];
        bool inside = id >= r.first && id < r.end, above = id < r.first && t->node[id].end > r.first;
        if (!inside && !above) continue;
        if (range.count++ == 0) range.first = i;
    }
    return range;
}

/* The largest request that such membranes are large enough for. */
static uint64_t largest(const struct membranes *t, const struct membrane_range *range) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < range->count; i++) sum += t->node[t->by_level[range->first + i]].share;
    const uint64_t parts = (t->depth - range->level + 1) * OWN_IN_REQUESTS;
    return range->count > 0 ? (uint64_t)sum / range->count / parts : 0;
}

static void find_range(struct membranes *t, enum coppice_type type, const uint32_t *start) {
    struct region region = region_of(t, type - COPPICE_EPISODIC, level_of_types(t, start), start);
    unsigned bits = 0;
    for (unsigned level = t->depth; level > 0; level--) {
        struct membrane_range range = range_at(t, region, level, start);
        const uint64_t most = level > 1 ? largest(t, &range) : UINT64_MAX;
        while (bits < MEMBRANE_SIZES && (bits == 64 ? level == 1 : most >> bits > 0)) t->range[type][bits++] = range;
    }
}

static void find_ranges(struct membranes *t, const uint32_t *start) {
    for (enum coppice_type type = COPPICE_EPISODIC; type < COPPICE_TYPES; type++) find_range(t, type, start);
    memcpy(t->range[COPPICE_UNTYPED], t->range[COPPICE_PROCEDURAL], sizeof t->range[0]);
}

/* --- */

static void publish(struct membranes *t, const uint32_t *start) {
    struct dtesn_counters *c = t->counters;
    for (unsigned level = 1; level <= t->depth; level++) {
        struct dtesn_level_counters *l = &c->level[level - 1];
        counter_set(&l->membranes, start[level] - start[level - 1]);
        counter_set(&l->budget_bytes, 0);
        for (uint32_t i = start[level - 1]; i < start[level]; i++) counter_add(&l->budget_bytes, (uint64_t)t->node[t->by_level[i]].share);
    }
    counter_set(&c->limit_bytes, (uint64_t)t->node[0].share);
    counter_set(&c->depth, t->depth);
}

bool membranes_make(struct membranes *t, enum tree_pattern pattern, unsigned depth, uint64_t limit, struct dtesn_counters *seen) {
    struct tree root = tree_root();
    uint64_t count[TREE_LEVELS] = { 0 };
    uint32_t start[TREE_LEVELS + 1] = { 0 }; /* of level n's ids in by_level: start[n - 1] */
    *t = (struct membranes){ .depth = depth < tree_deepest(pattern) ? depth : tree_deepest(pattern), .counters = seen };
    tree_count_levels(pattern, &root, t->depth, count);
    for (unsigned level = 1; level <= t->depth; level++) start[level] = start[level - 1] + (uint32_t)count[level - 1];
    struct membrane *node = sys_map(NULL, bytes_of(start[t->depth]), PROT_READ | PROT_WRITE);
    if (!node) return false;
    t->node = node, t->by_level = (uint32_t *)(node + start[t->depth]);
    shape(t, pattern, &root, 0);
    list_levels(t);
    node[0].share = limit < INT64_MAX / 4 ? (int64_t)limit : INT64_MAX / 4;
    atomic_store(&node[0].budget, node[0].share);
    for (uint32_t id = 0; id < t->count; id++) share_out(t, id);
    find_ranges(t, start);
    publish(t, start);
    return true;
}

void membranes_unmake(struct membranes *t) {
    if (t->node) sys_unmap(t->node, bytes_of(t->count));
    *t = (struct membranes){ 0 };
}
