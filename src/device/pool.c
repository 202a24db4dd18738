/* pool.c: hits, frees and what they cost; see pool.h. */
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

enum {
    SAMPLE_EVERY = 1024,        /* one hit in so many is timed */
    CLOSE_AFTER = 64            /* frees of a shard between two looks at the epoch and the clock */
};
_Atomic uint32_t pool_next_shard;

/* More is live. Only a new maximum of the present slot can be a new peak. */
static COLD void new_maximum(struct context *c, uint64_t live) {
    demand_rises(&c->demand, live);
    counter_raise(&c->counters->peak_live_bytes, live);
}
static inline uint64_t live_grows(struct context *c, uint64_t bytes) {
    return atomic_fetch_add_explicit(&c->counters->live_bytes, bytes, memory_order_relaxed) + bytes;
}
static inline bool is_maximum(struct context *c, uint64_t live) { return live > atomic_load_explicit(&c->demand.now, memory_order_relaxed); }
static inline void raise_live(struct context *c, uint64_t bytes) {
    uint64_t live = live_grows(c, bytes);
    if (unlikely(is_maximum(c, live))) new_maximum(c, live);
}

/* Books of what somebody wants to see apart: sites that are counted, and key/value cache. Most blocks are neither. */
static COLD void take_apart(struct context *c, struct block *b) {
    site_took(b->kind, b->asked);
    if (sites_learn()) b->born = clock_ns();
    if (b->kind.kv) device_kv_changed(c->counters, (int64_t)b->asked, clock_ns());
}
static COLD void give_apart(struct context *c, const struct block *b) {
    site_gave(b->kind, b->asked);
    if (sites_learn()) site_observe(b->kind, b->asked, clock_ns() - b->born);
    if (b->kind.kv) device_kv_changed(c->counters, -(int64_t)b->asked, clock_ns());
}
static inline bool stands_apart(struct kind kind) { return kind.site | kind.kv; }

/* So much more, or less, is reserved for live blocks than was asked for. */
static COLD void rounds(struct block *b, uint64_t slack) {
    counter_add(&b->context->counters->rounding_bytes, slack);
    budget_rounds(b, slack);
}

/* A block begins its life, live, and ends it; in between it belongs to a membrane. */
static struct block *begin_block(struct context *c, uint64_t address, uint64_t size, uint64_t asked) {
    struct block *b = block_new(c, address, size, asked);
    if (!b) return NULL;
    b->kind = thread_device.kind;
    if (stands_apart(b->kind)) take_apart(c, b);
    budget_born(b, true);
    return b;
}
void pool_end_block(struct block *b) {
    bool live = atomic_load_explicit(&b->state, memory_order_relaxed) != BLOCK_CACHED;
    if (live && stands_apart(b->kind)) give_apart(b->context, b);
    budget_ended(b, live);
    block_recycle(b);
}

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
    if (unlikely(stands_apart(kind))) take_apart(c, b);
    if (unlikely(b->size != asked)) rounds(b, b->size - asked);
    raise_live(c, asked);
    return b->address;
}

/* Ready memory of one shard, of the request's own type or (`lent`) another's. The lock is held before, and not after. */
static uint64_t take_locked(struct context *c, struct shard *s, uint64_t size, uint32_t key, bool lent) {
    enum coppice_type type = (enum coppice_type)thread_device.kind.type;
    shard_settle(s);
    struct block *b = lent ? shard_lend(s, size, type) : shard_take_last(s, size, type, key);
    if (!b && !lent) b = shard_take(s, size, type, key);
    uint64_t address = b ? hand_out(c, s, b, size, key & ~(uint32_t)KEY_ANY) : 0;
    lock_release(&s->lock);
    return address;
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
        if (b) address = hand_out(c, s, b, size, key);
        lock_release(&s->lock);
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

/* The driver's free, whatever context is current and whatever another thread captures. */
CUresult pool_free_in_driver(struct context *c, uint64_t address) {
    if (!context_enter(c)) return CUDA_ERROR_INVALID_CONTEXT;
    bool relaxed = capture_relax();
    CUresult freed = driver.cuMemFree_v2(address);
    capture_unrelax(relaxed);
    context_leave(c);
    context_noticed(c, freed);
    return freed;
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
static COLD uint64_t hit_noticed(struct shard *s, struct block *b, uint64_t live, enum pool_layer layer, bool waited) {
    if (waited) lock_wake(&s->lock);
    if (is_maximum(b->context, live)) new_maximum(b->context, live);
    return hits_do_more() ? after_hit(b->context, b->address, b->asked, layer) : b->address;
}

/* A hit: the thread's shard, its lock, the first block of one bin, two counters of a private line, one shared word for the
 * exact peak. What is not the usual case is somebody else's last call, so that this one saves no registers. */
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
    uint64_t live = live_grows(c, size);
    bool waited = lock_let_go(&s->lock);
    if (unlikely(waited || is_maximum(c, live) || hits_do_more())) return hit_noticed(s, b, live, layer, waited);
    return b->address;
}

/* Every few dozen frees: closes the epoch, so that its events get old, and looks at the clock. */
static COLD void now_and_then(struct context *c, bool pending) {
    if (pending) fence_close();
    demand_tick(&c->demand, counter_get(&c->counters->live_bytes), clock_ns());
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

/* A block that is CACHED already enters the shard, tagged with its epoch, and is counted as the program's no more; under the
 * shard's lock. `frees` of the shard, so far. */
struct put { uint64_t frees; bool ready; };
HOT struct put put_locked(struct context *c, struct shard *s, struct block *b, uint64_t asked) {
    struct put put = { .frees = counter_get(&s->counts->frees) + 1 };
    b->epoch = fence_tag();
    put.ready = fence_has_passed(b->epoch);
    b->tick = atomic_load_explicit(&c->tick, memory_order_relaxed);
    shard_put(s, b, put.ready);
    budget_gave(s, b, asked);
    counter_set(&s->counts->frees, put.frees);
    atomic_fetch_sub_explicit(&c->counters->live_bytes, asked, memory_order_relaxed);
    return put;
}

/* Is the cache larger than it may be? Three sums and their limits. */
HOT bool is_beyond_limits(struct context *c) {
    const struct device_counters *d = c->counters;
    uint64_t reserved = counter_get(&d->reserved_bytes), cached = reserved - counter_get(&d->live_bytes) - counter_get(&d->rounding_bytes);
    return cached > c->pool_max || reserved > atomic_load_explicit(&c->demand.keep, memory_order_relaxed) || contexts[1];
}
/* What now and then comes after a free. */
static inline bool is_time(struct put put) { return put.frees % CLOSE_AFTER == 0; }
static COLD enum pool_verdict put_noticed(struct context *c, struct shard *s, struct put put, bool waited) {
    if (waited) lock_wake(&s->lock);
    if (is_beyond_limits(c)) pool_enforce_limits(c);
    if (is_time(put)) now_and_then(c, !put.ready);
    return POOL_KEPT;
}
static COLD enum pool_verdict not_live(const struct block *b) { return atomic_load(&b->state) == BLOCK_CACHED ? POOL_TWICE : POOL_FOREIGN; }

/* A free of any block that may be kept. */
enum pool_verdict pool_keep(struct block *b) {
    struct context *c = b->context;
    if (unlikely(!block_move(b, BLOCK_LIVE, BLOCK_CACHED))) return not_live(b);
    if (unlikely(option_number(poison) && !option_number(zero))) poison(b);
    struct shard *s = own_shard(c);
    uint64_t asked = b->asked;
    lock_take(&s->lock);
    if (unlikely(stands_apart(b->kind))) give_apart(c, b);
    if (unlikely(b->size != asked)) rounds(b, asked - b->size);
    struct put put = put_locked(c, s, b, asked);
    bool waited = lock_let_go(&s->lock);
    return unlikely(waited || is_time(put) || is_beyond_limits(c)) ? put_noticed(c, s, put, waited) : POOL_KEPT;
}

static COLD enum pool_verdict keep_contended(struct context *c, struct shard *s, struct block *b) {
    lock_take(&s->lock);
    struct put put = put_locked(c, s, b, b->asked);
    return put_noticed(c, s, put, lock_let_go(&s->lock));
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
    uint64_t asked = b->asked;
    if (unlikely(b->size != asked || stands_apart(b->kind))) return pool_keep(b);
    if (unlikely(!block_move(b, BLOCK_LIVE, BLOCK_CACHED))) return not_live(b);
    struct context *c = b->context;
    struct shard *s = own_shard(c);
    if (unlikely(!lock_try(&s->lock))) return keep_contended(c, s, b);
    struct put put = put_locked(c, s, b, asked);
    bool waited = lock_let_go(&s->lock);
    if (unlikely(waited || is_time(put) || is_beyond_limits(c))) return put_noticed(c, s, put, waited);
    return POOL_KEPT;
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

/* A new live block enters the books of its shard. */
static void count_alloc(struct context *c, struct block *b, bool hit) {
    struct shard *s = own_shard(c);
    if (b->size != b->asked) counter_add(&c->counters->rounding_bytes, b->size - b->asked);
    raise_live(c, b->asked);
    if (!hit && b->kind.type == COPPICE_EMOTIONAL) ahead_missed(c, b->size);
    lock_take(&s->lock);
    counter_bump(&s->counts->allocs, 1), counter_bump(&s->counts->hits, hit);
    lock_release(&s->lock);
    if (trace_wanted()) trace_event(TRACE_ALLOC, hit ? 0 : TRACE_MISS, c->index, .address = b->address, .size = b->asked);
    pool_begin_chores();
}

bool pool_adopt_pages(struct context *c, uint64_t address, uint64_t size, uint64_t asked, bool called) {
    struct block *b = begin_block(c, address, size, asked);
    if (!b) return false;
    counter_add(&c->counters->misses, called), counter_add(&c->counters->stitched_blocks, called);
    count_alloc(c, b, !called);
    return true;
}

void pool_adopt(struct context *c, uint64_t address, uint64_t size, uint64_t asked) {
    struct device_counters *d = c->counters;
    struct block *stale = pool_disown(address); /* freed by a way that no hook sees, else the driver could not answer it */
    if (stale) pool_disown_done(stale);
    struct block *b = begin_block(c, address, size, asked);
    if (!b) return; /* no memory for a descriptor: the driver's own free will find it */
    uint64_t reserved = atomic_fetch_add_explicit(&d->reserved_bytes, size, memory_order_relaxed) + size;
    counter_raise(&d->peak_reserved_bytes, reserved);
    counter_add(&d->driver_allocs, 1), counter_add(&d->misses, 1);
    count_alloc(c, b, false);
}

bool pool_adopt_cached(struct context *c, uint64_t address, uint64_t size, enum coppice_type type) {
    struct shard *s = own_shard(c);
    struct block *b = block_new(c, address, size, 0);
    if (!b) return false;
    counter_raise(&c->counters->peak_reserved_bytes, atomic_fetch_add(&c->counters->reserved_bytes, size) + size);
    counter_add(&c->counters->driver_allocs, 1);
    b->kind.type = (uint8_t)type;
    budget_born(b, false);
    lock_take(&s->lock);
    block_move(b, BLOCK_LIVE, BLOCK_CACHED);
    shard_put(s, b, true);
    lock_release(&s->lock);
    return true;
}

struct block *pool_disown(uint64_t address) {
    struct block *b = block_find(address);
    if (!b || !block_move(b, BLOCK_LIVE, BLOCK_GONE)) return NULL;
    block_hide(b);
    return b;
}

void pool_disown_failed(struct block *b) {
    atomic_store_explicit(&b->state, BLOCK_LIVE, memory_order_release);
    block_show(b);
}

void pool_disown_done(struct block *b) {
    struct context *c = b->context;
    struct shard *s = own_shard(c);
    bool paged = pages_hold(c->pages, b->address); /* its pages are counted where they come and go */
    if (!paged) counter_add(&c->counters->reserved_bytes, -b->size), counter_add(&c->counters->driver_frees, 1);
    counter_add(&c->counters->rounding_bytes, -(b->size - b->asked));
    counter_add(&c->counters->live_bytes, -b->asked);
    pool_end_block(b);
    lock_take(&s->lock);
    counter_bump(&s->counts->frees, 1);
    lock_release(&s->lock);
}

void pool_taint(uint64_t base) {
    struct block *b = block_find(base);
    if (b && !atomic_exchange(&b->tainted, 1)) counter_add(&b->context->counters->tainted_blocks, 1);
}

uint64_t pool_asked(uint64_t base) {
    struct block *b = block_find(base);
    return b && atomic_load(&b->state) == BLOCK_LIVE ? b->asked : 0;
}

/* Collects a context's blocks a handful at a time, because the table's lock is held while it is walked. */
struct collection { struct context *context; struct block *found[64]; unsigned count; };
static void collect(struct block *b, void *with) {
    struct collection *all = with;
    if (b->context == all->context && all->count < 64) all->found[all->count++] = b;
}

void pool_drop_context(struct context *c) {
    struct device_counters *d = c->counters;
    struct collection all = { .context = c };
    for (unsigned i = 0; i < SHARDS; i++) {
        lock_take(&c->shard[i].lock);
        for (enum coppice_type type = 0; type < COPPICE_TYPES; type++)
            while (shard_take_oldest(&c->shard[i], type, false)) {}
        lock_release(&c->shard[i].lock);
    }
    do {
        all.count = 0;
        block_each(collect, &all);
        for (unsigned i = 0; i < all.count; i++) block_hide(all.found[i]), pool_end_block(all.found[i]);
    } while (all.count > 0);
    if (c->pages) pages_drop(c->pages);
    counter_set(&d->reserved_bytes, 0), counter_set(&d->rounding_bytes, 0), counter_set(&d->live_bytes, 0);
}

void pool_fork_child(void) {
    pool_chores_fork_child();
    trace_fork_child();
    capture_fork_child(), fence_fork_child(), fill_fork_child(), budget_fork_child(), context_fork_child(), block_fork_child();
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        for (unsigned j = 0; j < SHARDS; j++) lock_reset(&contexts[i]->shard[j].lock);
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->pages) lock_reset(&contexts[i]->pages->lock);
}
