/* shard.h: a part of a context's cache that one thread uses at a time.
 *
 * A *shard* holds cached blocks: *pending* ones in the order of their epochs, and *ready* ones in *bins* by size.
 * A thread uses one shard for ever, so its lock is taken without contention; a thread that finds nothing in its own
 * looks into the others before it asks the driver. Bins: sizes in units of 512 bytes, eight bins to a doubling, so the
 * blocks of one bin differ by at most an eighth. Everything here is under the shard's lock. */
#ifndef COPPICE_DEVICE_SHARD_H
#define COPPICE_DEVICE_SHARD_H
#include "base/lock.h"
#include "device/block.h"
#include "stats/counters.h"

enum { SHARDS = COUNTER_SHARDS, BINS = 264 };

struct shard {
    struct lock lock;
    struct block *pending_first, *pending_last; /* epochs never decrease along the list */
    struct block *oldest, *newest;              /* every cached block of the shard, by time of free */
    uint64_t cached;                            /* bytes in all of them */
    struct block *bin[BINS];                    /* ready blocks, last freed first */
} __attribute__((aligned(128)));

/* Bin of a size in bytes: blocks and requests alike, by 512-byte units rounded up. */
static inline unsigned shard_bin(uint64_t size) {
    uint64_t units = (size + 511) >> 9;
    if (units < 8) return (unsigned)units;
    unsigned e = 63 - (unsigned)__builtin_clzll(units);
    unsigned bin = (e - 3) * 8 + (unsigned)(units >> (e - 3));
    return bin < BINS ? bin : BINS - 1;
}
/* May a block of `size` bytes serve `asked`? At most an eighth of it may be left over, or less than 512 bytes. */
static inline bool shard_fits(uint64_t size, uint64_t asked) { return size >= asked && (size - asked < 512 || size - asked <= size / 8); }

void shard_init(struct shard *s);
/* A freed block enters; `ready`: its epoch has passed. */
void shard_put(struct shard *s, struct block *b, bool ready);
/* Pending blocks whose epoch has passed become ready. */
void shard_settle(struct shard *s);
/* The best ready block for `asked` bytes, or NULL; it leaves the shard. */
struct block *shard_take(struct shard *s, uint64_t asked);
/* The smallest ready block of `least` to `most` bytes, among those of its bin that are looked at; it leaves the shard. */
struct block *shard_take_between(struct shard *s, uint64_t least, uint64_t most);
/* Is there such a block, ready or among the first that are pending? */
bool shard_has_between(struct shard *s, uint64_t least, uint64_t most);
/* The largest ready block leaves the shard, the older of equals; NULL when there is none. */
struct block *shard_take_largest(struct shard *s);
/* The pending block that fits and has the earliest epoch; it stays. NULL when none fits. */
struct block *shard_find_pending(struct shard *s, uint64_t asked);
/* The oldest cached block leaves the shard, or only a ready one; NULL when there is none. */
struct block *shard_take_oldest(struct shard *s, bool only_ready);
#endif
