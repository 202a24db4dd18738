/* pool.c: hits; see pool.h. The usual one is pool_take alone, which reads as it runs; what is rare is its last call. */
#include "device/pool_parts.h"
#include "base/clock.h"
#include "base/options.h"
#include "device/ahead.h"
#include "device/budget.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/fit.h"
#include "device/page.h"
#include "device/trace.h"

enum { SAMPLE_EVERY = 1024 /* one hit in so many is timed */ };

/* The block is the program's, and counted; under the shard's lock. */
HOT void becomes_live(struct shard *s, struct block *b, uint64_t asked, struct kind kind) {
    struct device_shard_counters *n = s->counts;
    invariant(b->size >= asked && !b->tainted && fence_has_passed(b->epoch));
    b->asked = asked, b->kind = kind;
    atomic_store_explicit(&b->state, BLOCK_LIVE, memory_order_release);
    counter_bump(&n->allocs, 1), counter_bump(&n->hits, 1);
    budget_took(s, b, asked);
}

/* The block leaves the cache, whatever it was before; under the shard's lock. */
static uint64_t hand_out(struct context *c, struct shard *s, struct block *b, uint64_t asked, uint32_t key) {
    const struct kind kind = thread_device.kind;
    invariant(b->context == c);
    if (unlikely(b->owner.key != key)) budget_changes(b, asked, key);
    becomes_live(s, b, asked, kind);
    if (unlikely(stands_apart(kind))) pool_take_apart(c, b);
    if (unlikely(b->size != asked)) pool_rounds(b, b->size - asked);
    live_grows(c, s, asked);
    return b->address;
}
/* After it: the lock is released, and the peak looked at. */
static uint64_t handed_out(struct context *c, struct shard *s, uint64_t address) {
    lock_release(&s->lock);
    if (address) pool_look_at_claim(c, counter_get(&c->counters->claimed_bytes));
    return address;
}

/* Ready memory of one shard, of the request's own type or (`lent`) another's. The lock is held before, and not after. */
static uint64_t take_locked(struct context *c, struct shard *s, uint64_t size, uint32_t key, bool lent) {
    enum coppice_type type = (enum coppice_type)thread_device.kind.type;
    shard_settle(s);
    struct block *b = lent ? shard_lend(s, size, type) : shard_take_last(s, size, type, key);
    if (!b && !lent) b = shard_take(s, size, type, key);
    return handed_out(c, s, b ? hand_out(c, s, b, size, key & ~(uint32_t)KEY_ANY) : 0);
}
static uint64_t take_ready(struct context *c, struct shard *s, uint64_t size, uint32_t key, bool lent) {
    lock_take(&s->lock);
    return take_locked(c, s, size, key, lent);
}

/* The epoch of the earliest pending block that fits, in any shard; 0: none. */
static uint64_t pending_epoch(struct context *c, uint64_t size) {
    uint64_t earliest = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        if (!shard_peek(&s->pending.tqh_first)) continue;
        lock_take(&s->lock);
        struct block *b = shard_find_pending(s, size, (enum coppice_type)thread_device.kind.type);
        if (b && (!earliest || b->epoch < earliest)) earliest = b->epoch;
        lock_release(&s->lock);
    }
    return earliest;
}

/* Of the request's own type first, then of others', each in the own shard first. */
static uint64_t take_anywhere(struct context *c, struct shard *own, uint64_t size, uint32_t key) {
    uint64_t address = 0;
    for (unsigned i = 0, first = (unsigned)(own - c->shard); i < 2 * SHARDS && !address; i++) {
        struct shard *s = &c->shard[(first + i) % SHARDS];
        if (!shard_is_empty(s)) address = take_ready(c, s, size, key | KEY_ANY, i >= SHARDS);
    }
    return address;
}

/* A ready block that is larger than a hit may take, where that is worth it (fit.h). A procedural request takes one that is an eighth
 * larger before the driver is asked: a size that never comes again must not cost a driver call each time. */
static uint64_t take_loosely(struct context *c, struct shard *own, uint64_t size, uint32_t key) {
    enum coppice_type type = (enum coppice_type)thread_device.kind.type;
    uint64_t most = type == COPPICE_PROCEDURAL ? size + size / 8 : fit_most(c, size), address = 0;
    unsigned first = (unsigned)(own - c->shard);
    for (unsigned i = 0; i < SHARDS && most > size && !address; i++) {
        struct shard *s = &c->shard[(first + i) % SHARDS];
        if (shard_is_empty(s)) continue;
        lock_take(&s->lock);
        struct block *b = shard_take_between(s, size, most, type);
        address = handed_out(c, s, b ? hand_out(c, s, b, size, key) : 0);
    }
    return address;
}

/* Nothing ready in the own shard: other threads' shards, then memory still behind a fence. The program's own free would
 * have waited for that memory, so a short wait is never worse than without us; growing at once would be (a server that
 * frees and asks in turn would hold twice its need). The wait is bounded because work submitted after the free may, for
 * all we know, wait for this very request. */
static COLD uint64_t take_slow(struct context *c, struct shard *own, uint64_t size, uint32_t key) {
    uint64_t address = take_anywhere(c, own, size, key);
    if (address || !pool_is_open(c)) return address;
    uint64_t epoch = pending_epoch(c, size);
    if (epoch == 0) return c->pages ? 0 : take_loosely(c, own, size, key);
    if (!fence_poll(epoch)) {
        if (c->pages) return 0; /* other pages may do */
        counter_add(&c->counters->fence_waits, 1);
        uint64_t start = clock_ns();
        bool passed = fence_wait(epoch, option_number(fence_wait));
        if (trace_wanted()) trace_event(TRACE_WAIT, .context = c->index, .size = size, .extra = clock_ns() - start);
        if (!passed) return 0;
    }
    if (!pool_is_open(c)) return 0;
    address = take_anywhere(c, own, size, key);
    return address ? address : take_loosely(c, own, size, key);
}

static COLD uint64_t take_timed(struct context *c, struct shard *s, uint64_t size, uint32_t key) {
    uint64_t start = clock_ns(), middle = clock_ns();
    uint64_t address = take_ready(c, s, size, key, false);
    uint64_t end = clock_ns(), took = end - middle, clock = middle - start;
    took = took > clock ? took - clock : 1;
    if (address) {
        unsigned e = 63 - (unsigned)__builtin_clzll(took | 1), quarter = e >= 2 ? took >> (e - 2) & 3 : 0;
        counter_add(&c->counters->hit_ns[e < COUNTER_HIT_BUCKETS / 4 ? e * 4 + quarter : COUNTER_HIT_BUCKETS - 1], 1);
    }
    return address;
}

/* ZERO=1: a block that cannot be cleared goes back to the driver, whose fresh memory is what the program gets instead. */
static COLD void give_uncleared(struct context *c, uint64_t address) {
    struct block *b = pool_disown(address);
    if (!b) return;
    bool paged = pages_hold(c->pages, address);
    if (paged) pages_give(c->pages, address, b->size, false);
    if (paged || pool_free_in_driver(c, address) == CUDA_SUCCESS) pool_disown_done(b);
    else pool_disown_failed(b), pool_give(address, LAYER_DRIVER);
}

/* What a hit does besides. */
static inline bool hits_do_more(void) { return option_number(zero) | atomic_load_explicit(&trace_on, memory_order_relaxed); }
static COLD uint64_t after_hit(struct context *c, uint64_t address, uint64_t size, enum pool_layer layer) {
    if (option_number(zero) && !fill_bytes(c, address, 0, size)) return give_uncleared(c, address), 0;
    if (trace_wanted()) trace_event(TRACE_ALLOC, layer ? TRACE_RUNTIME : 0, c->index, .address = address, .size = size);
    return address;
}

/* Nothing ready in the own shard, so far; and what a hit does besides. */
static uint64_t take_other(struct context *c, struct shard *s, uint64_t size, uint32_t key, enum pool_layer layer, uint64_t address) {
    if (unlikely(!address)) address = take_slow(c, s, size, key);
    return unlikely(hits_do_more()) && address ? after_hit(c, address, size, layer) : address;
}
static COLD uint64_t take_sample(struct context *c, struct shard *s, uint64_t size, uint32_t key, enum pool_layer layer) {
    return take_other(c, s, size, key, layer, take_timed(c, s, size, key));
}
static COLD uint64_t take_contended(struct context *c, struct shard *s, uint64_t size, uint32_t key, enum pool_layer layer) {
    return take_other(c, s, size, key, layer, take_ready(c, s, size, key, false));
}
static __attribute__((noinline)) uint64_t take_looking(struct context *c, struct shard *s, uint64_t size, uint32_t key, enum pool_layer layer) {
    return take_other(c, s, size, key, layer, take_locked(c, s, size, key, false));
}
/* A hit after which somebody wants to know. */
static COLD uint64_t hit_noticed(struct shard *s, struct block *b, uint64_t claim, enum pool_layer layer, bool waited) {
    if (waited) lock_wake(&s->lock);
    pool_look_at_claim(b->context, claim);
    return hits_do_more() ? after_hit(b->context, b->address, b->asked, layer) : b->address;
}

/* A hit: the thread's shard, its lock, the first block of one bin, three counters of a private line. What is not the usual case is somebody else's last call, so that this one saves no registers. */
uint64_t pool_take(struct context *c, uint64_t size, enum pool_layer layer) {
    struct shard *s = own_shard(c);
    const uint32_t key = budget_key(c);
    const struct kind kind = thread_device.kind;
    if (unlikely((counter_get(&s->counts->hits) + 1) % SAMPLE_EVERY == 0)) return take_sample(c, s, size, key, layer);
    if (unlikely(!lock_try(&s->lock))) return take_contended(c, s, size, key, layer);
    const struct block *waiting = TAILQ_FIRST(&s->pending);
    bool usual = !(waiting && fence_has_passed(waiting->epoch)) && !stands_apart(kind);
    struct block *b = likely(usual) ? shard_take_last(s, size, (enum coppice_type)kind.type, key) : NULL;
    if (unlikely(!b)) return take_looking(c, s, size, key, layer);
    becomes_live(s, b, size, kind);
    uint64_t claim = live_grows(c, s, size);
    bool waited = lock_let_go(&s->lock);
    if (unlikely(waited || is_maximum(c, claim) || hits_do_more())) return hit_noticed(s, b, claim, layer, waited);
    return b->address;
}

