/* pool_parts.h: what pool.c (hits and frees) and trim.c (what goes back) share; for nobody else. */
#ifndef COPPICE_DEVICE_POOL_PARTS_H
#define COPPICE_DEVICE_POOL_PARTS_H
#include "device/pool.h"

extern _Atomic uint32_t pool_next_shard;
/* The shard that this thread uses, for ever. */
static inline struct shard *own_shard(struct context *c) {
    if (unlikely(thread_device.shard == 0)) thread_device.shard = offsetof(struct context, shard[atomic_fetch_add(&pool_next_shard, 1) % SHARDS]);
    return (struct shard *)((char *)c + thread_device.shard);
}
/* A hidden block ends: it leaves the books of its site and membrane, and its descriptor is free. */
void pool_end_block(struct block *b);
/* The driver's free, whatever context is current and whatever another thread captures. */
CUresult pool_free_in_driver(struct context *c, uint64_t address);
void pool_chores_fork_child(void);
#endif
