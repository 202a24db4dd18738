/* keep.c: frees; see pool.h. A freed block is *kept*: it goes into the cache, to be ready when its epoch has passed. The usual
 * free is give() alone, which reads as it runs; what is rare is its last call. */
#include "device/pool_parts.h"
#include "base/clock.h"
#include "base/options.h"
#include "device/budget.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/page.h"
#include "device/trace.h"

enum { CLOSE_AFTER = 64 /* frees of a shard between two looks at the epoch and the clock */ };

/* Every few dozen frees: closes the epoch, so that its events get old, and looks at the clock. */
static COLD void now_and_then(struct context *c, bool pending) {
    if (pending) fence_close();
    pool_tick(c);
}

/* May this block be cached? Decided before it changes state. What is too large for the cache alone is still worth its pages. */
static inline bool can_keep(struct block *b) {
    struct context *c = b->context;
    return pool_is_open(c) && !b->weights && !atomic_load_explicit(&b->tainted, memory_order_acquire) &&
           (b->size <= c->pool_max || pages_hold(c->pages, b->address));
}

/* POISON=1: the free waits as the driver's own would, for every context, because a peer's work may use the block too. */
static COLD void poison(struct block *b) {
    if (fence_wait(fence_tag(), POISON_WAIT_NS)) fill_bytes(b->context, b->address, POISON_BYTE, b->size);
}

/* Is the cache larger than it may be, with so much live? */
HOT bool is_beyond_limits(struct context *c, uint64_t live) {
    const struct device_counters *d = c->counters;
    uint64_t reserved = counter_get(&d->reserved_bytes), used = live + counter_get(&d->rounding_bytes), cached = reserved > used ? reserved - used : 0;
    return cached > c->pool_max || reserved > atomic_load_explicit(&c->demand.keep, memory_order_relaxed) || contexts[1];
}

/* A block that is CACHED already enters the shard, tagged with its epoch, and is counted as the program's no more; under the
 * shard's lock. */
struct put { uint64_t frees; /* of the shard, so far */ bool ready, beyond; };
HOT struct put put_locked(struct context *c, struct shard *s, struct block *b, uint64_t asked) {
    struct put put = { .frees = counter_get(&s->counts->frees) + 1 };
    b->epoch = fence_tag();
    put.ready = fence_has_passed(b->epoch);
    b->tick = atomic_load_explicit(&c->tick, memory_order_relaxed);
    shard_put(s, b, put.ready);
    budget_gave(s, b, asked);
    counter_set(&s->counts->frees, put.frees);
    put.beyond = is_beyond_limits(c, live_shrinks(c, s, asked));
    return put;
}

/* What now and then comes after a free. */
static inline bool is_time(struct put put) { return put.frees % CLOSE_AFTER == 0; }
static inline bool is_plain(struct put put, bool waited) { return likely(!waited && !put.beyond && !is_time(put)); }
static COLD enum pool_verdict put_noticed(struct context *c, struct shard *s, struct put put, bool waited) {
    if (waited) lock_wake(&s->lock);
    if (put.beyond) pool_enforce_limits(c);
    if (is_time(put)) now_and_then(c, !put.ready);
    return POOL_KEPT;
}
static COLD enum pool_verdict not_live(const struct block *b) { return atomic_load(&b->state) == BLOCK_CACHED ? POOL_TWICE : POOL_FOREIGN; }

/* The rest of a free, of any block that has just become CACHED, whatever it is and whoever holds the lock. */
static __attribute__((noinline)) enum pool_verdict put_any(struct block *b) {
    struct context *c = b->context;
    struct shard *s = own_shard(c);
    uint64_t asked = b->asked;
    lock_take(&s->lock);
    if (unlikely(stands_apart(b->kind))) pool_give_apart(c, b);
    if (unlikely(b->size != asked)) pool_rounds(b, asked - b->size);
    struct put put = put_locked(c, s, b, asked);
    bool waited = lock_let_go(&s->lock);
    return is_plain(put, waited) ? POOL_KEPT : put_noticed(c, s, put, waited);
}

enum pool_verdict pool_keep(struct block *b) {
    if (unlikely(!block_move(b, BLOCK_LIVE, BLOCK_CACHED))) return not_live(b);
    if (unlikely(option_number(poison) && !option_number(zero))) poison(b);
    return put_any(b);
}

/* A free may have to wait for the device where somebody wants that, or where not every event could cover its work. */
static inline bool frees_wait(void) { return option_number(free_sync) | option_number(poison) || !driver.cuCtxRecordEvent; }
static __attribute__((noinline)) enum pool_verdict give_waiting(struct block *b) {
    if (option_number(free_sync) || fence_must_wait()) fence_drain(fence_must_wait() ? NULL : b->context);
    return pool_keep(b);
}

/* A free: finds the block, tags it with its epoch, puts it into the thread's shard, compares three sums with their limits.
 * Every CLOSE_AFTER frees the epoch is closed; that is the only CUDA call of a free. What is not the usual case is somebody
 * else's last call, so that this one saves no registers. */
static inline enum pool_verdict give(uint64_t address) {
    struct block *b = block_find(address);
    if (unlikely(!b)) return POOL_FOREIGN;
    if (unlikely(!can_keep(b))) return not_live(b);
    if (unlikely(frees_wait())) return give_waiting(b);
    if (unlikely(!block_move(b, BLOCK_LIVE, BLOCK_CACHED))) return not_live(b);
    struct context *c = b->context;
    struct shard *s = own_shard(c);
    uint64_t asked = b->asked; /* read only now: until here another thread could have freed it and taken it again */
    if (unlikely(b->size != asked || stands_apart(b->kind) || !lock_try(&s->lock))) return put_any(b);
    struct put put = put_locked(c, s, b, asked);
    bool waited = lock_let_go(&s->lock);
    return is_plain(put, waited) ? POOL_KEPT : put_noticed(c, s, put, waited);
}

/* A cached free in the trace; one that goes on to the driver is recorded there. */
static COLD enum pool_verdict give_traced(uint64_t address, enum pool_layer layer) {
    uint64_t before = clock_ns();
    struct block *b = block_find(address);
    unsigned index = b ? b->context->index : 0;
    enum pool_verdict verdict = give(address);
    unsigned flags = (layer ? TRACE_RUNTIME : 0) | (verdict == POOL_TWICE ? TRACE_REFUSED : 0);
    if (verdict != POOL_FOREIGN) trace_event(TRACE_FREE, flags, index, .time = before, .address = address);
    return verdict;
}

enum pool_verdict pool_give(uint64_t address, enum pool_layer layer) {
    return trace_wanted() ? give_traced(address, layer) : give(address);
}
