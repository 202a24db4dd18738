/* fit.c: loose fits and sizes of new blocks; see fit.h. */
#include "device/fit.h"
#include "stats/totals.h"

enum { ALLOWANCE = 20, SMALL = 1 << 20, SMALL_WASTE = 256 << 10, RENT = 64 };

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Bytes that live blocks may still waste. */
static uint64_t allowance(struct context *c, uint64_t keep) {
    uint64_t wasted = counter_get(&c->counters->rounding_bytes), most = keep / ALLOWANCE;
    return wasted < most ? most - wasted : 0;
}

/* Sizes that come again and again want blocks of their own: a loose fit takes a hundred times less than a driver call and ten
 * times more than a hit, so the call is made once in RENT of them. */
static bool has_paid_rent(struct context *c, uint64_t size) {
    return atomic_fetch_add_explicit(&c->loose[shard_bin(size)], 1, memory_order_relaxed) % RENT == RENT - 1;
}

uint64_t fit_most(struct context *c, uint64_t size) {
    uint64_t live = device_live(c->counters), wasted = counter_get(&c->counters->rounding_bytes);
    uint64_t keep = demand_keep(&c->demand, live + size), spare = allowance(c, keep);
    uint64_t most = size < SMALL ? size + smaller(spare, SMALL_WASTE) : size;
    /* here growing costs nothing that is scarce */
    if (counter_get(&c->counters->reserved_bytes) + size <= keep) return has_paid_rent(c, size) ? size : most;
    uint64_t idle = keep / 2 > live + wasted ? keep / 2 - live - wasted : 0;
    return larger(most, larger(size + spare, idle));
}

/* Is a block cached that is at most an eighth too small? */
static bool sizes_vary(struct context *c, uint64_t size) {
    bool found = false;
    for (unsigned i = 0; i < SHARDS && !found; i++) {
        struct shard *s = &c->shard[i];
        if (shard_is_empty(s)) continue;
        lock_take(&s->lock);
        found = shard_has_between(s, size - size / 8, size - 1, (enum coppice_type)thread_device.kind.type);
        lock_release(&s->lock);
    }
    return found;
}

uint64_t fit_new(struct context *c, uint64_t size) {
    if (size < SMALL || !sizes_vary(c, size)) return size;
    uint64_t step = (uint64_t)1 << (60 - __builtin_clzll(size)); /* a sixteenth of the size at least, less than an eighth */
    uint64_t rounded = (size + step - 1) / step * step;
    uint64_t keep = demand_keep(&c->demand, device_live(c->counters) + size);
    return rounded - size <= allowance(c, keep) ? rounded : size;
}
