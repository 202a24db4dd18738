/* shard.c: bins and lists of cached blocks; see shard.h. */
#include "device/shard.h"
#include "device/budget.h"
#include "device/fence.h"

enum { LOOK_AT = 16 }; /* blocks of a bin that are compared for the best fit */

void shard_init(struct shard *s) {
    static struct dtesn_cells nowhere; /* until the context has some */
    *s = (struct shard){ .lock = LOCK_INIT(RANK_SHARD), .slack_shift = BLOCK_SLACK_SHIFT, .cells = &nowhere };
}

static inline struct block_ages *ages_of(struct shard *s, const struct block *b) { return &s->age[b->kind.type]; }

HOT void age_link(struct shard *s, struct block *b) {
    struct block_ages *age = ages_of(s, b);
    b->older = age->newest, b->newer = NULL;
    if (age->newest) age->newest->newer = b;
    else age->oldest = b;
    age->newest = b;
    age->cached += b->size;
}

HOT void age_unlink(struct shard *s, struct block *b) {
    struct block_ages *age = ages_of(s, b);
    if (b->older) b->older->newer = b->newer;
    else age->oldest = b->newer;
    if (b->newer) b->newer->older = b->older;
    else age->newest = b->older;
    age->cached -= b->size;
}

static inline struct block **bin_of(struct shard *s, const struct block *b) { return &s->bin[b->kind.type][shard_bin(b->size)]; }

HOT void bin_link(struct shard *s, struct block *b) {
    struct block **head = bin_of(s, b);
    b->previous = NULL, b->next = *head;
    if (*head) (*head)->previous = b;
    *head = b;
    b->epoch = 0; /* ready */
}

HOT void bin_unlink(struct shard *s, struct block *b) {
    if (b->previous) b->previous->next = b->next;
    else *bin_of(s, b) = b->next;
    if (b->next) b->next->previous = b->previous;
}

static void pending_link(struct shard *s, struct block *b) {
    /* two frees that race with a closing epoch may be tagged in either order: the later tag is safe for both */
    if (s->pending_last && b->epoch < s->pending_last->epoch) b->epoch = s->pending_last->epoch;
    b->previous = s->pending_last, b->next = NULL;
    if (s->pending_last) s->pending_last->next = b;
    else s->pending_first = b;
    s->pending_last = b;
}

static void pending_unlink(struct shard *s, struct block *b) {
    if (b->previous) b->previous->next = b->next;
    else s->pending_first = b->next;
    if (b->next) b->next->previous = b->previous;
    else s->pending_last = b->previous;
}

void shard_put(struct shard *s, struct block *b, bool ready) {
    age_link(s, b);
    if (ready) bin_link(s, b);
    else pending_link(s, b);
}

void shard_settle(struct shard *s) {
    while (s->pending_first && fence_has_passed(s->pending_first->epoch)) {
        struct block *b = s->pending_first;
        pending_unlink(s, b);
        bin_link(s, b);
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
    for (struct block *b = head; b && looked < LOOK_AT; b = b->next, looked++) {
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
    struct block *b = best_of(s, s->bin[of][bin], asked, by, key);
    if (!b && bin + 1 < BINS) b = best_of(s, s->bin[of][bin + 1], asked, by, key);
    if (b) bin_unlink(s, b), age_unlink(s, b);
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
    for (struct block *b = head; b && looked < LOOK_AT; b = b->next, looked++)
        if (b->size >= least && b->size <= most && (!best || b->size < best->size)) best = b;
    return best;
}

static struct block *between_of(struct shard *s, uint64_t least, uint64_t most, enum coppice_type of) {
    struct block *b = NULL;
    if (!shard_has(s, of)) return NULL;
    for (unsigned bin = shard_bin(least), last = shard_bin(most); bin <= last && !b; bin++) b = smallest_of(s->bin[of][bin], least, most);
    return b;
}

static struct block *find_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type) {
    struct block *b = between_of(s, least, most, type);
    for (enum coppice_type of = COPPICE_UNTYPED; of < COPPICE_EMOTIONAL && !b; of++) b = between_of(s, least, most, of);
    return b;
}

struct block *shard_take_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type) {
    struct block *b = find_between(s, least, most, type);
    if (b) bin_unlink(s, b), age_unlink(s, b);
    return b;
}

bool shard_has_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type) {
    if (find_between(s, least, most, type)) return true;
    int looked = 0;
    for (struct block *b = s->pending_first; b && looked < LOOK_AT * 4; b = b->next, looked++)
        if (b->size >= least && b->size <= most) return true;
    return false;
}

struct block *shard_take_largest(struct shard *s, enum coppice_type type) {
    struct block **bins = s->bin[type];
    unsigned bin = BINS;
    while (bin > 0 && !bins[bin - 1]) bin--;
    struct block *best = bin > 0 ? bins[bin - 1] : NULL;
    int looked = 0;
    for (struct block *b = best; b && looked < LOOK_AT; b = b->next, looked++)
        if (b->size >= best->size) best = b; /* the older of equals */
    if (best) bin_unlink(s, best), age_unlink(s, best);
    return best;
}

struct block *shard_find_pending(struct shard *s, uint64_t asked, enum coppice_type type) {
    for (struct block *b = s->pending_first; b; b = b->next)
        if (serves(s, b->size, asked, type) && (b->kind.type != COPPICE_EMOTIONAL || type == COPPICE_EMOTIONAL)) return b;
    return NULL;
}

void shard_remove(struct shard *s, struct block *b) {
    age_unlink(s, b);
    if (b->epoch) pending_unlink(s, b);
    else bin_unlink(s, b);
}

struct block *shard_take_oldest(struct shard *s, enum coppice_type type, bool only_ready) {
    struct block *b = s->age[type].oldest;
    while (b && only_ready && b->epoch) b = b->newer;
    if (b) shard_remove(s, b);
    return b;
}
