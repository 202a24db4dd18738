/* budget.c: see budget.h. */
#include "device/budget.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/options.h"
#include "device/fence.h"
#include "device/pool.h"
#include "device/room.h"

enum {
    CLIMB_AT_ONCE = 256,   /* blocks of a shard that are looked at each second, the oldest first */
    RELEASE_AT_ONCE = 32,
};

static struct device_tree { struct membranes membranes; CUdevice device; bool made; } trees[COUNTER_TREES - 1];
static struct lock trees_lock = LOCK_INIT(RANK_CONTEXT);

/* --- making */

static bool make_tree(struct device_tree *t, unsigned index, const struct context *c) {
    uint64_t given = option_number(dtesn_limit), limit = given == SIZE_AUTO ? c->capacity : given;
    struct dtesn_counters *seen = &counters->tree[1 + index];
    t->device = c->ordinal;
    t->made = membranes_make(&t->membranes, (enum tree_pattern)option_number(dtesn_pattern), (unsigned)option_number(dtesn_depth), limit, seen);
    counter_set(&seen->device, (uint64_t)c->ordinal);
    counter_set(&seen->in_use, t->made);
    return t->made;
}

static struct membranes *tree_of(const struct context *c) {
    for (unsigned i = 0; i < COUNTER_TREES - 1; i++)
        if (trees[i].made ? trees[i].device == c->ordinal : make_tree(&trees[i], i, c)) return &trees[i].membranes;
    return NULL;
}

void budget_join(struct context *c) {
    if (!option_number(dtesn)) return;
    lock_take(&trees_lock);
    c->cells = counters_device_cells(c->index);
    c->tree = tree_of(c);
    c->key_mask = c->tree ? ~0u : 0;
    for (unsigned i = 0; i < SHARDS && c->tree; i++) c->shard[i].cells = &c->cells->shard[i];
    lock_release(&trees_lock);
}

/* --- places */

/* Without a site of its own a request is named by its size. */
static struct place place_of(const struct membranes *t, uint32_t key, uint64_t size) {
    uint32_t site = key >> 16 ? key >> 16 : shard_bin(size) << 16;
    return membranes_place(t, budget_type(key), (site + 1) * 0x9e3779b1u, size);
}

static void settle_in(struct block *b, const struct membranes *t, uint32_t key, struct place p) {
    b->owner.id = p.id, b->owner.end = t->node[p.id].end, b->owner.key = key;
    b->owner.level = (uint8_t)p.level, b->owner.type = (uint8_t)budget_type(key);
    b->owner.cell = (uint16_t)(b->owner.type * COUNTER_LEVELS + p.level - 1);
}

bool budget_allows_other(const struct block *b, uint32_t key, uint64_t size) {
    return key == 0 || key & KEY_ANY || membranes_serves(b->owner.id, b->owner.end, place_of(b->context->tree, key, size).id);
}

/* Held memory goes to another membrane, by their nearest common ancestor. */
static void carry(struct membranes *t, uint32_t from, uint32_t to, uint64_t bytes) {
    uint32_t over = from;
    while (!membranes_serves(over, t->node[over].end, to)) over = t->node[over].parent;
    if (over != from) membranes_move(t, from, over, bytes);
    if (over != to) membranes_move(t, over, to, bytes);
}

void budget_rounds(struct block *b, uint64_t slack) {
    struct membranes *t = b->context->tree;
    if (t) counter_add(&t->counters->level[b->owner.level - 1].rounding_bytes, slack);
}

/* The block goes where the request has its place. */
void budget_changes(struct block *b, uint64_t asked, uint32_t key) {
    struct membranes *t = b->context->tree;
    if (key == 0) return;
    struct place p = place_of(t, key, asked);
    if (p.id != b->owner.id) {
        carry(t, b->owner.id, p.id, b->size);
        counter_add(&t->counters->borrowed_allocations, 1);
    }
    settle_in(b, t, key, p);
}

/* --- birth and end */

/* Budget that the thread has for memory that it is asking the driver for. */
static _Thread_local struct admitted { struct membranes *tree; struct place place; uint64_t bytes; } admitted;

void budget_dismiss(void) {
    if (admitted.bytes) membranes_release(admitted.tree, admitted.place.id, admitted.bytes);
    admitted.bytes = 0;
}

/* What the process has cached on the device goes back. */
static uint64_t clean_up(const struct context *c) {
    uint64_t gone = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->ordinal == c->ordinal) gone += pool_flush_context(contexts[i]);
    return gone;
}

/* Where the limit is the device itself, that says when it is full, and room.h what happens then. */
static inline bool limit_is_set(void) { return option_number(dtesn_limit) != SIZE_AUTO; }

static enum membranes_answer take(struct context *c, struct place p, uint64_t size) {
    enum membranes_answer answer = membranes_take(c->tree, p.id, size);
    if (unlikely(answer == MEMBRANES_FULL) && limit_is_set() && size <= membranes_limit(c->tree) && clean_up(c) > 0) answer = membranes_take(c->tree, p.id, size);
    return answer;
}

bool budget_admit(struct context *c, uint64_t size) {
    if (!c->tree || !room_could_be(c, size)) return true; /* the driver refuses what no device could hold */
    budget_dismiss();
    struct place p = place_of(c->tree, budget_key(c), size);
    enum membranes_answer answer = take(c, p, size);
    if (answer == MEMBRANES_FULL && option_number(dtesn_hard) && limit_is_set()) {
        counter_add(&c->tree->counters->refused_allocations, 1);
        return false;
    }
    if (answer == MEMBRANES_FULL) membranes_take_over(c->tree, p.id, size);
    if (answer != MEMBRANES_COMPLIANT) counter_add(&c->tree->counters->borrowed_allocations, 1);
    admitted = (struct admitted){ c->tree, p, size };
    return true;
}

/* Birth and end are rare: they share one set of cells beside the shards'. */
static void count_rare(struct block *b, uint64_t live, uint64_t allocs) {
    struct dtesn_cell *cell = &b->context->cells->shard[COUNTER_SHARDS].cell[0][0] + b->owner.cell;
    counter_add(&cell->live_bytes, live), counter_add(&cell->allocs, allocs);
    if (b->size != b->asked) budget_rounds(b, allocs ? b->size - b->asked : b->asked - b->size);
}

/* A block is larger than what was admitted, or came by a way that does not ask first. */
static void top_up(struct membranes *t, struct place p, uint64_t bytes) {
    if (membranes_take(t, p.id, bytes) == MEMBRANES_FULL) membranes_take_over(t, p.id, bytes);
}

void budget_born(struct block *b, bool live) {
    struct context *c = b->context;
    if (!c->tree) return;
    const uint32_t key = budget_key_of(c, b->kind);
    if (admitted.bytes > b->size || admitted.tree != c->tree) budget_dismiss();
    struct place p = admitted.bytes ? admitted.place : place_of(c->tree, key, b->size);
    if (b->size > admitted.bytes) top_up(c->tree, p, b->size - admitted.bytes);
    settle_in(b, c->tree, key, p);
    admitted.bytes = 0;
    if (live) count_rare(b, b->asked, 1);
}

void budget_ended(struct block *b, bool live) {
    struct membranes *t = b->context->tree;
    if (!t) return;
    if (live) count_rare(b, -b->asked, 0);
    membranes_release(t, b->owner.id, b->size);
}

/* --- consolidation */

static void count_move(struct membranes *t, uint64_t bytes) {
    counter_add(&t->counters->consolidations, 1);
    counter_add(&t->counters->bytes_consolidated, bytes);
}

/* As many levels as its idle time is worth, which counts from when it is first seen. True: it has waited long enough at
 * the root. */
static bool climb(struct membranes *t, struct block *b, uint32_t now) {
    if (b->owner.since == 0) b->owner.since = now;
    for (;;) {
        unsigned patience = membranes_patience_s(b->owner.level);
        if (now - b->owner.since < patience) return false;
        if (b->owner.level == 1) return true;
        uint32_t parent = t->node[b->owner.id].parent;
        membranes_move(t, b->owner.id, parent, b->size);
        b->owner.id = parent, b->owner.end = t->node[parent].end;
        b->owner.level--, b->owner.cell--;
        b->owner.key = 0; /* nobody's own any more */
        b->owner.since += patience;
        count_move(t, b->size);
    }
}

/* Climbs the oldest blocks of a type in a shard; what may leave the root, if anything may, is left in `out`. */
static unsigned climb_shard(struct membranes *t, struct shard *s, enum coppice_type type, uint32_t now, bool may_leave, struct block **out) {
    unsigned looked = 0, leaving = 0;
    lock_take(&s->lock);
    shard_settle(s);
    for (struct block *b = TAILQ_FIRST(&s->age[type].list), *newer; b && looked < CLIMB_AT_ONCE && leaving < RELEASE_AT_ONCE; b = newer, looked++) {
        newer = TAILQ_NEXT(b, aging);
        if (!climb(t, b, now) || b->epoch || !may_leave) continue;
        shard_remove(s, b);
        out[leaving++] = b;
    }
    lock_release(&s->lock);
    return leaving;
}

static uint64_t consolidate_type(struct context *c, enum coppice_type type, uint32_t now, bool may_leave, uint64_t (*release)(struct block *b)) {
    struct block *out[RELEASE_AT_ONCE];
    uint64_t gone = 0, start = clock_ns();
    for (unsigned i = 0; i < SHARDS; i++) {
        unsigned n = shard_has(&c->shard[i], type) ? climb_shard(c->tree, &c->shard[i], type, now, may_leave, out) : 0;
        while (n > 0) {
            uint64_t bytes = release(out[--n]);
            if (bytes > 0) count_move(c->tree, bytes);
            gone += bytes;
        }
    }
    counter_add(&c->tree->counters->consolidation_ns, clock_ns() - start);
    return gone;
}

/* Every type but the emotional, which is kept. A free by the driver waits for the device: while it has work nothing leaves. */
static uint64_t consolidate(struct context *c, uint32_t now, uint64_t (*release)(struct block *b)) {
    uint64_t gone = 0;
    if (!context_visit(c)) return 0;
    bool idle = fence_poll(fence_tag());
    for (enum coppice_type type = COPPICE_UNTYPED; type < COPPICE_EMOTIONAL; type++) gone += consolidate_type(c, type, now, idle, release);
    context_depart(c);
    return gone;
}

uint64_t budget_consolidate(uint64_t now_ns, uint64_t (*release)(struct block *b)) {
    static _Atomic uint32_t last;
    uint32_t second = (uint32_t)(now_ns / 1000000000u) + 1; /* never 0 */
    uint64_t gone = 0;
    if (atomic_exchange(&last, second) == second) return 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->tree && pool_is_open(contexts[i])) gone += consolidate(contexts[i], second, release);
    for (unsigned i = 0; i < COUNTER_TREES - 1 && trees[i].made; i++) membranes_settle(&trees[i].membranes, second);
    return gone;
}

/* The parent's numbers are in the parent's file; the child has no device. */
void budget_fork_child(void) {
    lock_reset(&trees_lock);
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) contexts[i]->tree = NULL;
}
