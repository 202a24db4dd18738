/* pool.c: hits, frees and what they cost; see pool.h. */
#include "device/pool.h"
#include "base/clock.h"
#include "base/options.h"
#include "device/ahead.h"
#include "device/budget.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/fit.h"
#include "device/page.h"
#include "device/pinned.h"
#include "device/trace.h"
#include "device/work.h"
#include "stats/service.h"
#include <stdlib.h>

enum {
    SAMPLE_EVERY = 1024,        /* one hit in so many is timed */
    CLOSE_AFTER = 64            /* frees of a shard between two looks at the epoch and the clock */
};
static _Atomic uint32_t next_shard;

static inline struct shard *own_shard(struct context *c) {
    if (unlikely(thread_device.shard == 0)) thread_device.shard = 1 + atomic_fetch_add(&next_shard, 1) % SHARDS;
    return &c->shard[thread_device.shard - 1];
}

/* Only a new maximum of the present slot can be a new peak. */
static inline void raise_live(struct context *c, uint64_t bytes) {
    uint64_t live = atomic_fetch_add_explicit(&c->counters->live_bytes, bytes, memory_order_relaxed) + bytes;
    if (unlikely(live > atomic_load_explicit(&c->demand.now, memory_order_relaxed))) {
        demand_rises(&c->demand, live);
        counter_raise(&c->counters->peak_live_bytes, live);
    }
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

/* A block begins its life, live, and ends it; in between it belongs to a membrane. */
static struct block *begin_block(struct context *c, uint64_t address, uint64_t size, uint64_t asked) {
    struct block *b = block_new(c, address, size, asked);
    if (!b) return NULL;
    b->kind = thread_device.kind;
    if (stands_apart(b->kind)) take_apart(c, b);
    budget_born(b, true);
    return b;
}
static void end_block(struct block *b) {
    bool live = atomic_load_explicit(&b->state, memory_order_relaxed) != BLOCK_CACHED;
    if (live && stands_apart(b->kind)) give_apart(b->context, b);
    budget_ended(b, live);
    block_recycle(b);
}

/* The block leaves the cache and is the program's; under the shard's lock. */
HOT uint64_t hand_out(struct context *c, struct shard *s, struct block *b, uint64_t asked, uint32_t key) {
    struct device_shard_counters *n = s->counts;
    invariant(b->context == c && b->size >= asked && !b->tainted && fence_has_passed(b->epoch));
    const struct kind kind = thread_device.kind;
    b->asked = asked, b->kind = kind;
    atomic_store_explicit(&b->state, BLOCK_LIVE, memory_order_release);
    if (unlikely(stands_apart(kind))) take_apart(c, b);
    counter_bump(&n->allocs, 1), counter_bump(&n->hits, 1);
    if (unlikely(b->size != asked)) counter_add(&c->counters->rounding_bytes, b->size - asked);
    budget_took(s, b, key);
    raise_live(c, asked);
    return b->address;
}

/* Ready memory of one shard, of the request's own type or (`lent`) another's: the hit itself. */
HOT uint64_t take_ready(struct context *c, struct shard *s, uint64_t size, uint32_t key, bool lent) {
    enum coppice_type type = (enum coppice_type)thread_device.kind.type;
    lock_take(&s->lock);
    if (s->pending_first) shard_settle(s);
    struct block *b = unlikely(lent) ? shard_lend(s, size, type) : shard_take(s, size, type, key);
    uint64_t address = b ? hand_out(c, s, b, size, key & ~(uint32_t)KEY_ANY) : 0;
    lock_release(&s->lock);
    return address;
}

/* The epoch of the earliest pending block that fits, in any shard; 0: none. */
static uint64_t pending_epoch(struct context *c, uint64_t size) {
    uint64_t earliest = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        if (!shard_peek(&s->pending_first)) continue;
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

/* A ready block that is larger than a hit may take, where that is worth it (fit.h). */
static uint64_t take_loosely(struct context *c, struct shard *own, uint64_t size, uint32_t key) {
    enum coppice_type type = (enum coppice_type)thread_device.kind.type;
    uint64_t most = type == COPPICE_PROCEDURAL ? size : fit_most(c, size), address = 0;
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
static CUresult free_in_driver(struct context *c, uint64_t address) {
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
    bool gone = pages_hold(c->pages, address) ? pages_give(c->pages, address, b->size, false) : free_in_driver(c, address) == CUDA_SUCCESS;
    if (gone) pool_disown_done(b);
    else pool_disown_failed(b), pool_give(address, LAYER_DRIVER);
}

/* What a hit does besides. */
static COLD uint64_t after_hit(struct context *c, uint64_t address, uint64_t size, enum pool_layer layer) {
    if (option_number(zero) && !fill_bytes(c, address, 0, size)) return give_uncleared(c, address), 0;
    if (trace_wanted()) trace_event(TRACE_ALLOC, layer ? TRACE_RUNTIME : 0, c->index, .address = address, .size = size);
    return address;
}

/* A hit: thread's shard, its lock, the first block of one bin, two counters of a private line, one shared word for the
 * exact peak. */
uint64_t pool_take(struct context *c, uint64_t size, enum pool_layer layer) {
    struct shard *s = own_shard(c);
    const uint32_t key = budget_key(c);
    bool sample = (counter_get(&s->counts->hits) + 1) % SAMPLE_EVERY == 0;
    uint64_t address = unlikely(sample) ? take_timed(c, s, size, key) : take_ready(c, s, size, key, false);
    if (unlikely(!address)) address = take_slow(c, s, size, key);
    if (unlikely(option_number(zero) | atomic_load_explicit(&trace_on, memory_order_relaxed)) && address) return after_hit(c, address, size, layer);
    return address;
}

/* The driver did not take a block back. If the memory is still there it is cached as before, and goes another time; else
 * it has left the program by a way that no hook saw. */
static COLD bool still_there(struct block *b) {
    CUdeviceptr base = 0;
    if (!driver.cuMemGetAddressRange_v2 || !context_enter(b->context)) return true;
    CUresult answer = driver.cuMemGetAddressRange_v2(&base, NULL, b->address);
    context_leave(b->context);
    return answer != CUDA_ERROR_NOT_FOUND && (answer != CUDA_SUCCESS || base == b->address);
}

static COLD void keep_refused(struct block *b) {
    struct shard *s = own_shard(b->context);
    block_show(b);
    lock_take(&s->lock);
    b->epoch = fence_tag();
    shard_put(s, b, false);
    lock_release(&s->lock);
}

static COLD void note_release(struct block *b, uint64_t before) {
    trace_event(TRACE_RELEASE, .time = before, .context = b->context->index, .address = b->address, .size = b->size);
}

/* The same for one that is made of pages: they are free then, the driver gets them back when there are too many. */
static COLD uint64_t release_pages(struct block *b) {
    struct context *c = b->context;
    uint64_t size = b->size, before = trace_wanted() ? clock_ns() : 0;
    if (b->epoch && !fence_has_passed(b->epoch)) fence_drain(c);
    block_hide(b);
    if (!pages_give(c->pages, b->address, size, false)) return keep_refused(b), 0;
    if (unlikely(before)) note_release(b, before);
    end_block(b);
    return size;
}

/* A block that has left its shard goes back to where it came from. Returns its bytes; 0: refused, it is cached as before. */
static uint64_t release(struct block *b) {
    struct context *c = b->context;
    uint64_t size = b->size, before = trace_wanted() ? clock_ns() : 0;
    if (pages_hold(c->pages, b->address)) return release_pages(b);
    block_hide(b); /* off the books first: once the driver has it back, another thread may be given the same address */
    if (unlikely(free_in_driver(c, b->address) != CUDA_SUCCESS) && still_there(b)) return keep_refused(b), 0;
    if (unlikely(before)) note_release(b, before);
    end_block(b);
    counter_add(&c->counters->reserved_bytes, -size);
    counter_add(&c->counters->driver_frees, 1);
    return size;
}

/* What goes back first: semantic memory, which nobody will ask for again soon; last what is asked for again and again.
 * Emotional memory is not trimmed for want of demand, only where the cache itself may not be as large. */
static const enum coppice_type trim_order[COPPICE_TYPES] = { COPPICE_SEMANTIC, COPPICE_UNTYPED, COPPICE_EPISODIC, COPPICE_PROCEDURAL, COPPICE_EMOTIONAL };
enum trim_what { TRIM_BY_DEMAND = COPPICE_TYPES - 1, TRIM_ALL = COPPICE_TYPES }; /* how many of them */

/* Blocks of one type leave the shard until `bytes` have gone: ready ones, the largest first, for the fewest calls; or any, the
 * oldest first. */
static uint64_t trim_shard(struct shard *s, enum coppice_type type, uint64_t bytes, bool only_ready) {
    uint64_t gone = 0;
    while (gone < bytes && shard_has(s, type)) {
        lock_take(&s->lock);
        struct block *b = only_ready ? shard_take_largest(s, type) : shard_take_oldest(s, type, false);
        lock_release(&s->lock);
        uint64_t bytes_back = b ? release(b) : 0;
        if (bytes_back == 0) break;
        gone += bytes_back;
    }
    return gone;
}

/* Gives cached blocks back until `excess` bytes have gone: ready ones, then those for which the driver's free
 * has to wait, as the program's own would have; the thread's own first. */
static uint64_t trim_blocks(struct context *c, uint64_t excess, enum trim_what what) {
    uint64_t gone = 0;
    unsigned own = (unsigned)(own_shard(c) - c->shard);
    for (unsigned pending = 0; pending < 2; pending++)
        for (unsigned type = 0; type < (unsigned)what; type++)
            for (unsigned i = 0; i < SHARDS && gone < excess; i++)
                gone += trim_shard(&c->shard[(own + i) % SHARDS], trim_order[type], excess - gone, !pending);
    return gone;
}

/* Where blocks are made of pages, free pages go first, and then those that blocks have left free: what counts is what the
 * driver gets. Nothing is unmapped while anybody captures. */
static uint64_t trim_pages(struct context *c, uint64_t excess, enum trim_what what) {
    if (capture_active()) return 0;
    uint64_t gone = pages_shrink(c->pages, excess), before = counter_get(&c->counters->driver_frees);
    if (gone >= excess || trim_blocks(c, excess - gone, what) == 0) return gone;
    gone += pages_shrink(c->pages, excess - gone);
    return gone ? gone : counter_get(&c->counters->driver_frees) - before; /* whole allocations went */
}

static uint64_t trim_context(struct context *c, uint64_t excess, enum trim_what what) {
    uint64_t gone = c->pages ? trim_pages(c, excess, what) : trim_blocks(c, excess, what);
    if (gone > 0) counter_add(&c->counters->trims, 1);
    return gone;
}

/* Emotional memory is kept whatever the demand: it counts for nothing here. */
static uint64_t reserved_by_demand(const struct context *c) {
    uint64_t kept = pool_cached_of(c, COPPICE_EMOTIONAL), reserved = counter_get(&c->counters->reserved_bytes);
    return reserved > kept ? reserved - kept : 0;
}

uint64_t pool_cached_of(const struct context *c, enum coppice_type type) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < SHARDS; i++) bytes += __atomic_load_n(&c->shard[i].age[type].cached, __ATOMIC_RELAXED);
    return bytes;
}

/* After a block came in: cached bytes of the device within POOL_MAX, reserved bytes of the context within what demand
 * is worth. */
COLD void pool_enforce_limits(struct context *c) {
    uint64_t keep = demand_keep(&c->demand, counter_get(&c->counters->live_bytes)), reserved = reserved_by_demand(c);
    if (reserved > keep) trim_context(c, reserved - keep, TRIM_BY_DEMAND);
    uint64_t cached = context_cached_on(c->ordinal);
    if (cached > c->pool_max) trim_context(c, cached - c->pool_max, TRIM_ALL);
}

/* Every few dozen frees: closes the epoch, so that its events get old, and looks at the clock. */
static COLD void now_and_then(struct context *c, bool pending) {
    if (pending) fence_close();
    demand_tick(&c->demand, counter_get(&c->counters->live_bytes), clock_ns());
}

uint64_t pool_make_room(struct context *c, uint64_t size) {
    uint64_t live = counter_get(&c->counters->live_bytes), reserved = reserved_by_demand(c);
    demand_tick(&c->demand, live, clock_ns());
    uint64_t most = demand_most(&c->demand), keep = demand_keep(&c->demand, live + size);
    if (c->pages) keep = most > live + size ? most : live + size; /* what is cached can serve anything but this */
    else if (thread_device.kind.type != COPPICE_PROCEDURAL) size = fit_new(c, size); /* those are found by exact size */
    if (reserved + size > keep && reserved > live) trim_context(c, reserved + size - keep, TRIM_BY_DEMAND);
    return size;
}

/* May this block be cached? Decided before it changes state. What is too large for the cache alone is still worth its pages. */
static inline bool can_keep(struct block *b) {
    struct context *c = b->context;
    return pool_is_open(c) && !atomic_load_explicit(&b->tainted, memory_order_acquire) &&
           (b->size <= c->pool_max || pages_hold(c->pages, b->address));
}

/* POISON=1: the free waits as the driver's own would, for every context, because a peer's work may use the block too. */
static COLD void poison(struct block *b) {
    if (fence_wait(fence_tag(), POISON_WAIT_NS)) fill_bytes(b->context, b->address, POISON_BYTE, b->size);
}

/* A free: find the block, tag it with its epoch, put it into the thread's shard, compare three sums with their limits.
 * Every CLOSE_AFTER frees the epoch is closed; that is the only CUDA call of a free. */
static inline enum pool_verdict keep(struct block *b) {
    struct context *c = b->context;
    if (unlikely(!block_move(b, BLOCK_LIVE, BLOCK_CACHED))) return atomic_load(&b->state) == BLOCK_CACHED ? POOL_TWICE : POOL_FOREIGN;
    if (unlikely(option_number(poison) && !option_number(zero))) poison(b);
    struct shard *s = own_shard(c);
    struct device_counters *d = c->counters;
    uint64_t asked = b->asked, slack = b->size - asked;
    lock_take(&s->lock);
    b->epoch = fence_tag();
    bool ready = fence_has_passed(b->epoch);
    b->tick = atomic_load_explicit(&c->tick, memory_order_relaxed);
    shard_put(s, b, ready);
    budget_gave(s, b);
    counter_bump(&s->counts->frees, 1);
    bool now = counter_get(&s->counts->frees) % CLOSE_AFTER == 0;
    if (unlikely(slack)) counter_add(&d->rounding_bytes, -slack);
    if (unlikely(stands_apart(b->kind))) give_apart(c, b);
    atomic_fetch_sub_explicit(&d->live_bytes, asked, memory_order_relaxed);
    lock_release(&s->lock);
    uint64_t cached = counter_get(&d->reserved_bytes) - counter_get(&d->live_bytes) - counter_get(&d->rounding_bytes);
    bool beyond = counter_get(&d->reserved_bytes) > atomic_load_explicit(&c->demand.keep, memory_order_relaxed);
    if (unlikely(cached > c->pool_max || beyond || contexts[1])) pool_enforce_limits(c);
    if (unlikely(now)) now_and_then(c, !ready);
    return POOL_KEPT;
}

enum pool_verdict pool_keep(struct block *b) { return keep(b); }

static inline enum pool_verdict give(uint64_t address) {
    struct block *b = block_find(address);
    if (unlikely(!b)) return POOL_FOREIGN;
    if (unlikely(!can_keep(b))) return atomic_load(&b->state) == BLOCK_CACHED ? POOL_TWICE : POOL_FOREIGN;
    if (unlikely(option_number(free_sync) || fence_must_wait())) fence_drain(fence_must_wait() ? NULL : b->context);
    return keep(b);
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

/* At exit the driver takes itself down: no call of ours may come after. */
static struct lock chore_lock = LOCK_INIT(RANK_START);
static bool exiting;
static void end_chores(void) {
    lock_take(&chore_lock);
    exiting = true;
    lock_release(&chore_lock);
}

void pool_begin_chores(void) {
    static _Atomic bool begun;
    if (likely(atomic_load_explicit(&begun, memory_order_relaxed)) || atomic_exchange(&begun, true)) return;
    atexit(end_chores); /* registered after the driver's own handlers, so it runs before them */
    service_start();
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
    end_block(b);
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

uint64_t pool_flush_context(struct context *c) {
    return atomic_load(&c->gate) & GATE_CLOSED ? 0 : trim_context(c, UINT64_MAX, TRIM_ALL);
}

/* Semantic memory that was freed more than a second or two ago: its owner is not about to load it again. */
static void trim_semantic(struct context *c) {
    uint32_t tick = atomic_fetch_add(&c->tick, 1);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        while (shard_has(s, COPPICE_SEMANTIC) && fence_poll(fence_tag())) {
            lock_take(&s->lock);
            struct block *b = s->age[COPPICE_SEMANTIC].oldest;
            b = b && tick - b->tick >= 2 ? shard_take_oldest(s, COPPICE_SEMANTIC, false) : NULL;
            lock_release(&s->lock);
            if (!b) break;
            uint64_t bytes = release(b);
            if (c->pages) pages_shrink(c->pages, bytes);
        }
    }
}

/* --- page backend: cached blocks as a source of pages */
static bool steal_one(struct context *c, struct shard *s, enum coppice_type type, struct theft *got) {
    lock_take(&s->lock);
    shard_settle(s);
    struct block *b = shard_take_oldest(s, type, true);
    lock_release(&s->lock);
    if (!b) return false;
    got->blocks++;
    if (!pages_hold(c->pages, b->address)) got->returned += b->size;
    release(b);
    return true;
}

struct theft pool_steal(struct context *c, uint32_t pages) {
    struct theft got = { 0 };
    unsigned own = (unsigned)(own_shard(c) - c->shard);
    for (unsigned i = 0; i < SHARDS * TRIM_BY_DEMAND; i++) {
        struct shard *s = &c->shard[(own + i) % SHARDS];
        enum coppice_type type = trim_order[i / SHARDS];
        while (pages == 0 ? got.blocks == 0 : pages_free(c->pages) + got.returned / PAGE_BYTES < pages)
            if (!shard_has(s, type) || !steal_one(c, s, type, &got)) break;
    }
    counter_add(&c->counters->stolen_blocks, got.blocks);
    return got;
}

bool pool_wait_for_any(struct context *c, uint64_t limit_ns) {
    uint64_t earliest = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        lock_take(&s->lock);
        if (s->pending_first && (!earliest || s->pending_first->epoch < earliest)) earliest = s->pending_first->epoch;
        lock_release(&s->lock);
    }
    return earliest && fence_wait(earliest, limit_ns);
}

/* A free by the driver waits for the device: only while it has nothing to do is that nobody's time. */
static uint64_t give_back_while_idle(bool tight) {
    uint64_t gone = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        struct context *c = contexts[i];
        struct device_counters *d = c->counters;
        if (!pool_is_open(c)) continue;
        uint64_t live = counter_get(&d->live_bytes), reserved = reserved_by_demand(c);
        demand_tick(&c->demand, live, clock_ns());
        uint64_t keep = tight ? demand_recent(&c->demand, live) : demand_keep(&c->demand, live);
        bool beyond = reserved > keep && counter_get(&d->reserved_bytes) > live;
        if (beyond && fence_poll(fence_tag())) gone += trim_context(c, reserved - keep, TRIM_BY_DEMAND);
        trim_semantic(c);
        ahead_fill(c);
    }
    return gone;
}

bool pool_chore_begins(void) {
    lock_take(&chore_lock);
    if (!exiting) return true;
    lock_release(&chore_lock);
    return false;
}

void pool_chore_ends(void) { lock_release(&chore_lock); }

uint64_t pool_chore(bool tight) {
    if (!pool_chore_begins()) return 0;
    uint64_t gone = give_back_while_idle(tight);
    pinned_chore();
    budget_consolidate(clock_ns(), release);
    pool_chore_ends();
    return gone;
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
        for (unsigned i = 0; i < all.count; i++) block_hide(all.found[i]), end_block(all.found[i]);
    } while (all.count > 0);
    if (c->pages) pages_drop(c->pages);
    counter_set(&d->reserved_bytes, 0), counter_set(&d->rounding_bytes, 0), counter_set(&d->live_bytes, 0);
}

void pool_fork_child(void) {
    lock_reset(&chore_lock);
    trace_fork_child();
    capture_fork_child(), fence_fork_child(), fill_fork_child(), budget_fork_child(), context_fork_child(), block_fork_child();
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        for (unsigned j = 0; j < SHARDS; j++) lock_reset(&contexts[i]->shard[j].lock);
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->pages) lock_reset(&contexts[i]->pages->lock);
}
