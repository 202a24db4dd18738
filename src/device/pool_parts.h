/* pool_parts.h: what pool.c (hits), keep.c (frees), lives.c (beginnings and ends) and trim.c (what goes back) share; for nobody else. */
#ifndef COPPICE_DEVICE_POOL_PARTS_H
#define COPPICE_DEVICE_POOL_PARTS_H
#include "device/pool.h"

extern _Atomic uint32_t pool_next_shard;
/* The shard that this thread uses, for ever. */
static inline struct shard *own_shard(struct context *c) {
    if (unlikely(thread_device.shard == 0)) thread_device.shard = offsetof(struct context, shard[atomic_fetch_add(&pool_next_shard, 1) % SHARDS]);
    return (struct shard *)((char *)c + thread_device.shard);
}

/* Live bytes, exact, without a word that all threads write: what is live is *claimed*, and a free leaves some of its claim *spare* to its
 * shard, for the next hit there. The claim was live all at once before, so what is spare can be live again without a new peak: only a
 * claim above the highest of the present slot (demand.h) can be one, and then what is spare goes back before it is looked at. A free
 * compares limits with what its own shard knows, so a shard may have so small a part of POOL_MAX spare that all have a sixteenth. */
enum { SPARE_PART = 16 * SHARDS };
void pool_new_maximum(struct context *c) COLD;
static inline bool is_maximum(struct context *c, uint64_t claim) { return claim > atomic_load_explicit(&c->demand.now, memory_order_relaxed); }
/* Outside the shards' locks: is it a new maximum? */
static inline void pool_look_at_claim(struct context *c, uint64_t claim) {
    if (unlikely(is_maximum(c, claim))) pool_new_maximum(c);
}
static inline uint64_t pool_claim(struct context *c, uint64_t bytes) {
    return atomic_fetch_add_explicit(&c->counters->claimed_bytes, bytes, memory_order_relaxed) + bytes;
}
/* Under the shard's lock; returns the claim where it grew, else 0. */
static inline uint64_t live_grows(struct context *c, struct shard *s, uint64_t bytes) {
    uint64_t spare = counter_get(&s->counts->spare_bytes);
    bool enough = likely(spare >= bytes);
    counter_set(&s->counts->spare_bytes, enough ? spare - bytes : 0);
    return enough ? 0 : pool_claim(c, bytes - spare);
}
/* The same; returns live bytes, and what other shards have spare. */
static inline uint64_t live_shrinks(struct context *c, struct shard *s, uint64_t bytes) {
    uint64_t spare = counter_get(&s->counts->spare_bytes);
    if (unlikely(spare + bytes > c->pool_max / SPARE_PART)) return pool_claim(c, -bytes) - spare;
    if (unlikely(!(atomic_load_explicit(&c->sparing, memory_order_relaxed) & s->bit))) atomic_fetch_or(&c->sparing, s->bit);
    counter_set(&s->counts->spare_bytes, spare + bytes);
    return counter_get(&c->counters->claimed_bytes) - spare - bytes;
}
/* Time passes: the claim is a new slot's first maximum, for what is spare may be live again unseen. */
void pool_tick(struct context *c);
/* Books of what somebody wants to see apart: sites that are counted, and key/value cache. Most blocks are neither. */
static inline bool stands_apart(struct kind kind) { return kind.site | kind.kv; }
void pool_take_apart(struct context *c, struct block *b) COLD;
void pool_give_apart(struct context *c, const struct block *b) COLD;
/* So much more, or less, is reserved for live blocks than was asked for. */
void pool_rounds(struct block *b, uint64_t slack) COLD;
/* A hidden block ends: it leaves the books of its site and membrane, and its descriptor is free. */
void pool_end_block(struct block *b);
/* The driver's free, whatever context is current and whatever another thread captures. */
CUresult pool_free_in_driver(struct context *c, uint64_t address);
void pool_chores_fork_child(void);
#endif
