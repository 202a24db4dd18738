/* shard.c: bins and lists of cached blocks; see shard.h. */
#include "device/shard.h"
#include "device/budget.h"
#include "device/fence.h"

enum { LOOK_AT = 16 }; /* blocks of a bin that are compared for the best fit */

void shard_init(struct shard *s, unsigned number) {
    static struct dtesn_cells nowhere; /* until the context has some */
    *s = (struct shard){ .lock = LOCK_INIT(RANK_SHARD + number), .bit = 1u << number, .slack_shift = BLOCK_SLACK_SHIFT, .cells = &nowhere };
    TAILQ_INIT(&s->pending);
    for (enum coppice_type type = 0; type < COPPICE_TYPES; type++) TAILQ_INIT(&s->age[type].list);
}

void shard_settle(struct shard *s) {
    for (struct block *b; (b = TAILQ_FIRST(&s->pending)) && fence_has_passed(b->epoch);) {
        TAILQ_REMOVE(&s->pending, b, waiting);
        shard_is_ready(s, b);
    }
}

/* May a block of `size` bytes serve a request of this type? */
static inline bool serves(const struct shard *s, uint64_t size, uint64_t asked, enum coppice_type type) {
    return type == COPPICE_PROCEDURAL ? size == asked : shard_fits(s, size, asked);
}

/* The smallest of the first blocks of one bin that fit, for an episodic request the first. The first that fits exactly ends
 * the search: the usual case. */
HOT struct block *best_of(const struct shard *s, struct block *head, uint64_t asked, enum coppice_type type, uint32_t key) {
    struct block *best = NULL;
    int looked = 0;
    for (struct block *b = head; b && looked < LOOK_AT; b = LIST_NEXT(b, fitting), looked++) {
        if (!serves(s, b->size, asked, type) || !budget_allows(b, key, asked)) continue;
        if (b->size == asked) return b;
        if (type == COPPICE_EPISODIC) return b;
        if (!best || b->size < best->size) best = b;
    }
    return best;
}

/* A ready block of type `of` for a request of type `by`. */
HOT struct block *take_of(struct shard *s, uint64_t asked, enum coppice_type of, enum coppice_type by, uint32_t key) {
    unsigned bin = shard_bin(asked);
    struct block *b = best_of(s, LIST_FIRST(&s->bin[of][bin]), asked, by, key);
    if (!b && bin + 1 < BINS) b = best_of(s, LIST_FIRST(&s->bin[of][bin + 1]), asked, by, key);
    if (b) shard_remove_ready(s, b);
    return b;
}

struct block *shard_take(struct shard *s, uint64_t asked, enum coppice_type type, uint32_t key) { return take_of(s, asked, type, type, key); }

struct block *shard_lend(struct shard *s, uint64_t asked, enum coppice_type type) {
    for (enum coppice_type of = COPPICE_UNTYPED; of < COPPICE_EMOTIONAL; of++) {
        struct block *b = of == type ? NULL : take_of(s, asked, of, type, KEY_ANY);
        if (b) return b;
    }
    return NULL;
}

/* The smallest of the first blocks of one bin that are of `least` to `most` bytes. */
static struct block *smallest_of(struct block *head, uint64_t least, uint64_t most) {
    struct block *best = NULL;
    int looked = 0;
    for (struct block *b = head; b && looked < LOOK_AT; b = LIST_NEXT(b, fitting), looked++)
        if (b->size >= least && b->size <= most && (!best || b->size < best->size)) best = b;
    return best;
}

static struct block *between_of(struct shard *s, uint64_t least, uint64_t most, enum coppice_type of) {
    struct block *b = NULL;
    if (!shard_has(s, of)) return NULL;
    for (unsigned bin = shard_bin(least), last = shard_bin(most); bin <= last && !b; bin++) b = smallest_of(LIST_FIRST(&s->bin[of][bin]), least, most);
    return b;
}

static struct block *find_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type) {
    struct block *b = between_of(s, least, most, type);
    for (enum coppice_type of = COPPICE_UNTYPED; of < COPPICE_EMOTIONAL && !b; of++) b = between_of(s, least, most, of);
    return b;
}

struct block *shard_take_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type) {
    struct block *b = find_between(s, least, most, type);
    if (b) shard_remove_ready(s, b);
    return b;
}

bool shard_has_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type) {
    if (find_between(s, least, most, type)) return true;
    int looked = 0;
    for (struct block *b = TAILQ_FIRST(&s->pending); b && looked < LOOK_AT * 4; b = TAILQ_NEXT(b, waiting), looked++)
        if (b->size >= least && b->size <= most) return true;
    return false;
}

struct block *shard_take_largest(struct shard *s, enum coppice_type type) {
    struct bin *bins = s->bin[type];
    unsigned bin = BINS;
    while (bin > 0 && LIST_EMPTY(&bins[bin - 1])) bin--;
    struct block *best = bin > 0 ? LIST_FIRST(&bins[bin - 1]) : NULL;
    int looked = 0;
    for (struct block *b = best; b && looked < LOOK_AT; b = LIST_NEXT(b, fitting), looked++)
        if (b->size >= best->size) best = b; /* the older of equals */
    if (best) shard_remove_ready(s, best);
    return best;
}

struct block *shard_find_pending(struct shard *s, uint64_t asked, enum coppice_type type) {
    struct block *b;
    TAILQ_FOREACH(b, &s->pending, waiting)
        if (serves(s, b->size, asked, type) && (b->kind.type != COPPICE_EMOTIONAL || type == COPPICE_EMOTIONAL)) return b;
    return NULL;
}

void shard_remove(struct shard *s, struct block *b) {
    if (!b->epoch) return shard_remove_ready(s, b);
    struct block_ages *age = &s->age[b->kind.type];
    TAILQ_REMOVE(&s->pending, b, waiting);
    TAILQ_REMOVE(&age->list, b, aging);
    age->cached -= b->size;
}

struct block *shard_take_oldest(struct shard *s, enum coppice_type type, bool only_ready) {
    struct block *b = TAILQ_FIRST(&s->age[type].list);
    while (b && only_ready && b->epoch) b = TAILQ_NEXT(b, aging);
    if (b) shard_remove(s, b);
    return b;
}
