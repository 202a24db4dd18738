/* membranes.c: the steps on budgets; see membranes.h. The tree itself is made in grow.c. */
#include "dtesn/membranes.h"
#include "base/hints.h"

static inline int64_t get(const _Atomic int64_t *word) { return atomic_load_explicit(word, memory_order_relaxed); }
static inline int64_t add(_Atomic int64_t *word, int64_t n) { return atomic_fetch_add(word, n) + n; }

/* Takes up to `most` bytes off a word that stays >= 0; returns what it got. */
static int64_t take_some(_Atomic int64_t *word, int64_t most) {
    int64_t have = get(word), n;
    do {
        n = have < most ? have : most;
        if (n <= 0) return 0;
    } while (!atomic_compare_exchange_weak(word, &have, have - n));
    return n;
}

static bool take_all(_Atomic int64_t *word, int64_t n) {
    int64_t have = get(word);
    do
        if (have < n) return false;
    while (!atomic_compare_exchange_weak(word, &have, have - n));
    return true;
}

/* --- the sums that change; those of a level and of the tree go along */

static inline struct dtesn_level_counters *level_of(struct membranes *t, const struct membrane *m) { return &t->counters->level[m->level - 1]; }

static void budget_add(struct membranes *t, struct membrane *m, int64_t n) {
    int64_t now = add(&m->budget, n);
    counter_add(&level_of(t, m)->budget_bytes, (uint64_t)n);
    invariant(now >= 0);
}

static void own_add(struct membranes *t, struct membrane *m, int64_t n) {
    int64_t now = add(&m->own, n);
    add(&t->own, n);
    counter_add(&level_of(t, m)->held_bytes, (uint64_t)n);
    invariant(now >= 0);
}

static void over_add(struct membranes *t, struct membrane *m, int64_t n) {
    if (n == 0) return;
    add(&m->over, n), add(&t->over, n);
    counter_add(&level_of(t, m)->held_bytes, (uint64_t)n);
    counter_add(&t->counters->over_bytes, (uint64_t)n);
}

static int64_t over_take(struct membranes *t, struct membrane *m, int64_t most) {
    int64_t n = take_some(&m->over, most);
    if (n == 0) return 0;
    add(&t->over, -n);
    counter_add(&level_of(t, m)->held_bytes, (uint64_t)-n);
    counter_add(&t->counters->over_bytes, (uint64_t)-n);
    return n;
}

/* Budget for everybody from just below `above` down to `id`: the higher ones first. */
static void widen(struct membranes *t, uint32_t above, uint32_t id, int64_t n) {
    uint32_t path[TREE_LEVELS];
    unsigned steps = 0;
    for (; id != above; id = t->node[id].parent) path[steps++] = id;
    while (steps > 0) budget_add(t, &t->node[path[--steps]], n);
}

/* The reverse: the lower ones first. */
static void narrow(struct membranes *t, uint32_t id, uint32_t above, int64_t n) {
    for (; id != above; id = t->node[id].parent) budget_add(t, &t->node[id], -n);
}

/* --- taking */

/* What stays with a membrane whatever others need, so that every level keeps a budget. */
static inline int64_t floor_of(const struct membrane *m) { return m->share / 256; }

/* Up to `most` free bytes of a membrane whose budget is above `floor` go to an ancestor. Two who do it at once may go
 * below that; never below what the membrane and its descendants use. */
static int64_t hand_up(struct membranes *t, uint32_t id, uint32_t above, int64_t most, int64_t floor) {
    struct membrane *m = &t->node[id];
    int64_t spare = get(&m->budget) - floor, n = take_some(&m->free, spare < most ? spare : most);
    if (n == 0) return 0;
    narrow(t, id, above, n);
    add(&t->node[above].free, n);
    return n;
}

/* Calls in what the descendants of `id` have free until it has `bytes` itself. */
static bool call_in(struct membranes *t, uint32_t id, int64_t bytes) {
    struct membrane *m = &t->node[id];
    for (uint32_t i = m->end - 1; i > id && get(&m->free) < bytes; i--) hand_up(t, i, id, bytes - get(&m->free), floor_of(&t->node[i]));
    return take_all(&m->free, bytes);
}

static void lend(struct membranes *t, uint32_t from, uint32_t to, int64_t bytes) {
    widen(t, from, to, bytes);
    own_add(t, &t->node[to], bytes);
}

/* Bytes of the limit that nobody holds. */
static inline int64_t unheld(const struct membranes *t) { return get(&t->node[0].budget) - get(&t->own); }

/* Up to the root, twice: whoever has it free; then whoever can get it from the others, where the sum says there is enough:
 * that way may look at every membrane. */
static COLD enum membranes_answer climb(struct membranes *t, uint32_t id, int64_t bytes) {
    for (uint32_t at = id; at != 0;) {
        at = t->node[at].parent;
        if (take_all(&t->node[at].free, bytes)) return lend(t, at, id, bytes), MEMBRANES_BORROWED;
    }
    for (uint32_t at = id; unheld(t) >= bytes; at = t->node[at].parent) {
        if (call_in(t, at, bytes)) return lend(t, at, id, bytes), MEMBRANES_BORROWED;
        if (at == 0) break;
    }
    return MEMBRANES_FULL;
}

enum membranes_answer membranes_take(struct membranes *t, uint32_t id, uint64_t bytes) {
    struct membrane *m = &t->node[id];
    if (unlikely(bytes > INT64_MAX / 4)) return MEMBRANES_FULL;
    if (unlikely(!take_all(&m->free, (int64_t)bytes))) return climb(t, id, (int64_t)bytes);
    own_add(t, m, (int64_t)bytes);
    return MEMBRANES_COMPLIANT;
}

void membranes_take_over(struct membranes *t, uint32_t id, uint64_t bytes) { over_add(t, &t->node[id], (int64_t)bytes); }

/* --- giving back and moving: what is over the limit goes first */

void membranes_release(struct membranes *t, uint32_t id, uint64_t bytes) {
    struct membrane *m = &t->node[id];
    int64_t n = (int64_t)bytes - over_take(t, m, (int64_t)bytes);
    own_add(t, m, -n);
    add(&m->free, n);
}

/* As much of `bytes` as the membrane holds. */
static int64_t release_some(struct membranes *t, struct membrane *m, int64_t bytes) {
    int64_t over = over_take(t, m, bytes), n = take_some(&m->own, bytes - over);
    if (n == 0) return over;
    add(&t->own, -n);
    counter_add(&level_of(t, m)->held_bytes, (uint64_t)-n);
    add(&m->free, n);
    return over + n;
}

void membranes_release_near(struct membranes *t, uint32_t id, uint64_t bytes) {
    int64_t left = (int64_t)bytes;
    for (uint32_t i = 0; i < t->count && left > 0; i++) left -= release_some(t, &t->node[(id + i) % t->count], left);
}

void membranes_move(struct membranes *t, uint32_t from, uint32_t to, uint64_t bytes) {
    struct membrane *a = &t->node[from], *b = &t->node[to];
    int64_t over = over_take(t, a, (int64_t)bytes), n = (int64_t)bytes - over;
    own_add(t, a, -n);
    if (to < from) narrow(t, from, to, n);
    else widen(t, from, to, n);
    own_add(t, b, n);
    over_add(t, b, over);
}

/* --- settling */

/* What is held over the limit comes under it as others let go. The budget comes first: whoever releases this memory
 * meanwhile finds it in one place or the other. */
static void cover(struct membranes *t, uint32_t id) {
    struct membrane *m = &t->node[id];
    int64_t over = get(&m->over), room = unheld(t), n = over < room ? over : room;
    if (n <= 0 || membranes_take(t, id, (uint64_t)n) == MEMBRANES_FULL) return;
    int64_t covered = over_take(t, m, n);
    own_add(t, m, covered - n);
    add(&m->free, n - covered);
}

void membranes_settle(struct membranes *t, uint64_t second) {
    for (uint32_t id = t->count - 1; id > 0; id--) {
        struct membrane *m = &t->node[id];
        if (get(&m->free) > 0 && second % membranes_patience_s(m->level) == 0) hand_up(t, id, m->parent, INT64_MAX, m->share);
    }
    for (uint32_t id = 0; id < t->count && get(&t->over) > 0; id++)
        if (get(&t->node[id].over) > 0) cover(t, id);
}

bool membranes_are_valid(const struct membranes *t) {
    for (uint32_t id = 0; id < t->count; id++) {
        const struct membrane *m = &t->node[id];
        int64_t sum = get(&m->free) + get(&m->own);
        for (uint32_t child = id + 1; child < m->end; child = t->node[child].end) sum += get(&t->node[child].budget);
        if (sum != get(&m->budget) || get(&m->free) < 0 || get(&m->own) < 0 || get(&m->over) < 0 || get(&m->budget) < 0) return false;
    }
    return true;
}
