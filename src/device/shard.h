/* shard.h: a part of a context's cache that one thread uses at a time.
 *
 * A *shard* holds cached blocks: *pending* ones in the order of their epochs, and *ready* ones in *bins* by size.
 * A thread uses one shard for ever, so its lock is taken without contention; a thread that finds nothing in its own
 * looks into the others before it asks the driver. Bins: sizes in units of 512 bytes, eight bins to a doubling, so the
 * blocks of one bin differ by at most an eighth. Everything here is under the shard's lock.
 *
 * Each memory *type* (docs/TYPES.md) has bins and an age list of its own: a block goes where its last owner's type says. What
 * fits depends on who asks: a procedural request takes a block of exactly its size, any other one of which at most an
 * eighth is left over; an episodic one takes the block that was freed last, any other the smallest. A shard *lends* blocks
 * of other types to a request that would otherwise go to the driver, but never emotional ones, which are kept for their
 * own. */
#ifndef COPPICE_DEVICE_SHARD_H
#define COPPICE_DEVICE_SHARD_H
#include "base/lock.h"
#include "device/block.h"
#include "stats/counters.h"

enum { SHARDS = COUNTER_SHARDS, BINS = 264 };

struct shard {
    struct lock lock;
    struct device_shard_counters *counts;       /* where its hits and frees are counted, */
    struct dtesn_cells *cells;                  /* and by type and level; set before the context is used */
    TAILQ_HEAD(pending, block) pending;         /* epochs never decrease along the list */
    struct block_ages {
        TAILQ_HEAD(, block) list;               /* every cached block of the type, by time of free */
        uint64_t cached;                        /* bytes in them */
    } age[COPPICE_TYPES];
    LIST_HEAD(bin, block) bin[COPPICE_TYPES][BINS]; /* ready blocks, last freed first */
    uint32_t bit;                               /* 1 << its number in the context */
    unsigned slack_shift;                       /* a block may be larger than asked by 1 / 2^this of itself */
} __attribute__((aligned(128)));

/* Bin of a size in bytes: blocks and requests alike, by 512-byte units rounded up. */
static inline unsigned shard_bin(uint64_t size) {
    uint64_t units = (size + 511) >> 9;
    if (units < 8) return (unsigned)units;
    unsigned e = 63 - (unsigned)__builtin_clzll(units);
    unsigned bin = (e - 3) * 8 + (unsigned)(units >> (e - 3));
    return bin < BINS ? bin : BINS - 1;
}
/* May a block of `size` bytes serve `asked`? Less than 512 bytes may be left over, or a small part of the block: an eighth
 * where blocks are whole driver allocations, a hundredth or so where another block can be made of the same pages. */
enum { BLOCK_SLACK_SHIFT = 3, PAGE_SLACK_SHIFT = 7 };
static inline bool shard_fits(const struct shard *s, uint64_t size, uint64_t asked) {
    return size >= asked && (size - asked < 512 || size - asked <= size >> s->slack_shift);
}

/* A freed block enters; `ready`: its epoch has passed. */
static inline void shard_is_ready(struct shard *s, struct block *b) {
    LIST_INSERT_HEAD(&s->bin[b->kind.type][b->bin], b, fitting);
    b->epoch = 0;
}
static inline void shard_put(struct shard *s, struct block *b, bool ready) {
    struct block_ages *age = &s->age[b->kind.type];
    invariant(b->bin == shard_bin(b->size));
    TAILQ_INSERT_TAIL(&age->list, b, aging);
    age->cached += b->size;
    if (ready) return shard_is_ready(s, b);
    /* two frees that race with a closing epoch may be tagged in either order: the later tag is safe for both */
    const struct block *last = TAILQ_LAST(&s->pending, pending);
    if (last && b->epoch < last->epoch) b->epoch = last->epoch;
    TAILQ_INSERT_TAIL(&s->pending, b, waiting);
}
/* A ready block leaves its shard. */
static inline void shard_remove_ready(struct shard *s, struct block *b) {
    struct block_ages *age = &s->age[b->kind.type];
    LIST_REMOVE(b, fitting);
    TAILQ_REMOVE(&age->list, b, aging);
    age->cached -= b->size;
}
/* The usual hit: the block freed last of its bin is of exactly this size, and was the same asker's. NULL: the others are worth
 * a look (shard_take). */
static inline struct block *shard_take_last(struct shard *s, uint64_t asked, enum coppice_type type, uint32_t key) {
    struct block *b = LIST_FIRST(&s->bin[type][shard_bin(asked)]);
    if (unlikely(!b || b->size != asked || b->owner.key != key)) return NULL;
    shard_remove_ready(s, b);
    return b;
}

/* A look at a list's head without the lock, to see whether the lock is worth taking: what it says may be a moment old. */
static inline __attribute__((no_sanitize_thread)) bool shard_peek(struct block *const *head) { return __atomic_load_n(head, __ATOMIC_RELAXED); }

void shard_init(struct shard *s, unsigned number);
/* Pending blocks whose epoch has passed become ready. */
void shard_settle(struct shard *s);
/* The ready block of this type for `asked` bytes that the asker named by `key` may have (budget.h), or NULL; it leaves the shard. */
struct block *shard_take(struct shard *s, uint64_t asked, enum coppice_type type, uint32_t key);
/* A cached block leaves the shard. */
void shard_remove(struct shard *s, struct block *b);
/* The same from the blocks of other types. */
struct block *shard_lend(struct shard *s, uint64_t asked, enum coppice_type type);
/* The smallest ready block of `least` to `most` bytes, among those of its bin that are looked at, of this type or else one
 * that is lent; it leaves the shard. */
struct block *shard_take_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type);
/* Is there such a block, ready or among the first that are pending? */
bool shard_has_between(struct shard *s, uint64_t least, uint64_t most, enum coppice_type type);
/* The largest ready block of the type leaves the shard, the older of equals; NULL when there is none. */
struct block *shard_take_largest(struct shard *s, enum coppice_type type);
/* The pending block that may serve the request and has the earliest epoch; it stays. NULL when none fits. */
struct block *shard_find_pending(struct shard *s, uint64_t asked, enum coppice_type type);
/* The oldest cached block of the type leaves the shard, or only a ready one; NULL when there is none. */
struct block *shard_take_oldest(struct shard *s, enum coppice_type type, bool only_ready);
/* Is anything cached, of the type or of any? Without the lock: a hint. */
static inline bool shard_has(const struct shard *s, enum coppice_type type) { return shard_peek(&s->age[type].list.tqh_first); }
static inline bool shard_is_empty(const struct shard *s) {
    for (enum coppice_type type = 0; type < COPPICE_TYPES; type++)
        if (shard_has(s, type)) return false;
    return true;
}
#endif
