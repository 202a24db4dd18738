/* trim.c: what goes back, when and in which order: the part of pool.h that makes a cache smaller.
 * A block is *released* to where it came from: the driver, or the free pages of its context. That happens when more is
 * reserved than demand is worth, when the cache exceeds POOL_MAX, before the driver is asked for more, when somebody is out of
 * memory, when its pages are *stolen* for another block, and in *chores*, once a second, while the device has nothing to do.
 * Never on a hit. No lock is held while the driver is called. */
#include "device/pool_parts.h"
#include "base/clock.h"
#include "device/ahead.h"
#include "device/budget.h"
#include "device/fence.h"
#include "device/fit.h"
#include "device/page.h"
#include "device/pinned.h"
#include "device/trace.h"
#include "stats/service.h"
#include "stats/totals.h"
#include <stdlib.h>

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
    bool passed = !b->epoch || fence_has_passed(b->epoch) || fence_finish(c);
    block_hide(b);
    if (unlikely(!passed)) return keep_refused(b), 0; /* somebody captures, or the context begins to end: work may still use the pages */
    pages_give(c->pages, b->address, size, false);
    if (unlikely(before)) note_release(b, before);
    pool_end_block(b);
    return size;
}

/* A block that has left its shard goes back to where it came from. Returns its bytes; 0: refused, it is cached as before. */
static uint64_t release(struct block *b) {
    struct context *c = b->context;
    uint64_t size = b->size, before = trace_wanted() ? clock_ns() : 0;
    if (pages_hold(c->pages, b->address)) return release_pages(b);
    block_hide(b); /* off the books first: once the driver has it back, another thread may be given the same address */
    if (unlikely(pool_free_in_driver(c, b->address) != CUDA_SUCCESS) && still_there(b)) return keep_refused(b), 0;
    if (unlikely(before)) note_release(b, before);
    pool_end_block(b);
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
    if (!context_visit(c)) return 0;
    uint64_t gone = c->pages ? trim_pages(c, excess, what) : trim_blocks(c, excess, what);
    if (gone > 0) counter_add(&c->counters->trims, 1);
    context_depart(c);
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
    uint64_t keep = demand_keep(&c->demand, device_live(c->counters)), reserved = reserved_by_demand(c);
    if (reserved > keep) trim_context(c, reserved - keep, TRIM_BY_DEMAND);
    uint64_t cached = context_cached_on(c->ordinal);
    if (cached > c->pool_max) trim_context(c, cached - c->pool_max, TRIM_ALL);
}

uint64_t pool_make_room(struct context *c, uint64_t size) {
    uint64_t live = device_live(c->counters), reserved = reserved_by_demand(c);
    pool_tick(c);
    uint64_t most = demand_most(&c->demand), keep = demand_keep(&c->demand, live + size);
    if (c->pages) keep = most > live + size ? most : live + size; /* what is cached can serve anything but this */
    else size = fit_new(c, size);
    if (reserved + size > keep && reserved > live) trim_context(c, reserved + size - keep, TRIM_BY_DEMAND);
    return size;
}

/* --- giving back */
uint64_t pool_flush_context(struct context *c) { return trim_context(c, UINT64_MAX, TRIM_ALL); }

/* Semantic memory that was freed more than a second or two ago: its owner is not about to load it again. */
static void trim_semantic(struct context *c) {
    uint32_t tick = atomic_fetch_add(&c->tick, 1);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        while (shard_has(s, COPPICE_SEMANTIC) && fence_poll(fence_tag())) {
            lock_take(&s->lock);
            struct block *b = TAILQ_FIRST(&s->age[COPPICE_SEMANTIC].list);
            b = b && tick - b->tick >= 2 ? shard_take_oldest(s, COPPICE_SEMANTIC, false) : NULL;
            lock_release(&s->lock);
            if (!b) break;
            uint64_t bytes = release(b);
            if (c->pages) pages_shrink(c->pages, bytes);
        }
    }
}

/* --- page backend: cached blocks as a source of pages */
static bool steal_one(struct context *c, struct shard *s, enum coppice_type type) {
    lock_take(&s->lock);
    shard_settle(s);
    struct block *b = shard_take_oldest(s, type, true);
    lock_release(&s->lock);
    return b && release(b) > 0;
}

uint64_t pool_steal(struct context *c, uint64_t asked) {
    uint64_t blocks = 0;
    unsigned own = (unsigned)(own_shard(c) - c->shard);
    bool fits = false;
    for (unsigned i = 0; i < SHARDS * TRIM_BY_DEMAND && !fits; i++) {
        struct shard *s = &c->shard[(own + i) % SHARDS];
        enum coppice_type type = trim_order[i / SHARDS];
        while (!fits && shard_has(s, type) && steal_one(c, s, type)) blocks++, fits = pages_fit(c->pages, asked);
    }
    counter_add(&c->counters->stolen_blocks, blocks);
    return blocks;
}

bool pool_wait_for_any(struct context *c, uint64_t limit_ns) {
    uint64_t earliest = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        lock_take(&s->lock);
        const struct block *first = TAILQ_FIRST(&s->pending);
        if (first && (!earliest || first->epoch < earliest)) earliest = first->epoch;
        lock_release(&s->lock);
    }
    return earliest && fence_wait(earliest, limit_ns);
}

/* --- chores */
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

/* A free by the driver waits for the device: only while it has nothing to do is that nobody's time. */
static uint64_t give_back_while_idle(struct context *c, bool tight) {
    struct device_counters *d = c->counters;
    uint64_t live = device_live(d), reserved = reserved_by_demand(c), gone = 0;
    pool_tick(c);
    uint64_t keep = tight ? demand_recent(&c->demand, live) : demand_keep(&c->demand, live);
    bool beyond = reserved > keep && counter_get(&d->reserved_bytes) > live;
    if (beyond && fence_poll(fence_tag())) gone = trim_context(c, reserved - keep, TRIM_BY_DEMAND);
    trim_semantic(c);
    ahead_fill(c);
    return gone;
}

static uint64_t chore_of(struct context *c, bool tight) {
    if (!pool_is_open(c) || !context_visit(c)) return 0;
    uint64_t gone = give_back_while_idle(c, tight);
    context_depart(c);
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
    uint64_t gone = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) gone += chore_of(contexts[i], tight);
    pinned_chore(false);
    budget_consolidate(clock_ns(), release);
    pool_chore_ends();
    return gone;
}

uint64_t pool_host_is_tight(void) {
    if (!pool_chore_begins()) return 0;
    uint64_t gone = pinned_chore(true);
    pool_chore_ends();
    return gone;
}

void pool_chores_fork_child(void) { lock_reset(&chore_lock); }
