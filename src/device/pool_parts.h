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

/* More is live, and only a new maximum of the present slot can be a new peak. */
void pool_new_maximum(struct context *c, uint64_t live) COLD;
static inline uint64_t live_grows(struct context *c, uint64_t bytes) {
    return atomic_fetch_add_explicit(&c->counters->live_bytes, bytes, memory_order_relaxed) + bytes;
}
static inline bool is_maximum(struct context *c, uint64_t live) { return live > atomic_load_explicit(&c->demand.now, memory_order_relaxed); }
static inline void pool_raise_live(struct context *c, uint64_t bytes) {
    uint64_t live = live_grows(c, bytes);
    if (unlikely(is_maximum(c, live))) pool_new_maximum(c, live);
}
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
