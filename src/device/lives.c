/* lives.c: how blocks begin and end; see pool.h. A block is *adopted* when the driver, or a context's pages, have made its memory,
 * and *disowned* when the memory goes back by a call of the program's. In between, hits and frees change whose it is (pool.c,
 * keep.c), and what they count is counted here for the rest. */
#include "device/pool_parts.h"
#include "base/clock.h"
#include "device/ahead.h"
#include "device/budget.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/page.h"
#include "device/trace.h"

_Atomic uint32_t pool_next_shard;

void pool_tick(struct context *c) { demand_tick(&c->demand, counter_get(&c->counters->claimed_bytes), clock_ns()); }

/* Locks every shard that has something spare; others have nothing, or begin after this moment. */
static uint32_t lock_sparing(struct context *c) {
    uint32_t held = atomic_load(&c->sparing), now;
    for (;;) {
        for (unsigned i = 0; i < SHARDS; i++)
            if (held >> i & 1) lock_take(&c->shard[i].lock);
        if (!((now = atomic_load(&c->sparing)) & ~held)) return held;
        for (unsigned i = 0; i < SHARDS; i++)
            if (held >> i & 1) lock_release(&c->shard[i].lock);
        held |= now;
    }
}

/* While nobody takes from what is spare: it goes back, and the claim is what is live. */
void pool_new_maximum(struct context *c) {
    uint32_t held = lock_sparing(c);
    uint64_t spare = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        if (held >> i & 1) spare += counter_get(&c->shard[i].counts->spare_bytes), counter_set(&c->shard[i].counts->spare_bytes, 0);
    uint64_t live = pool_claim(c, -spare);
    demand_rises(&c->demand, live);
    counter_raise(&c->counters->peak_live_bytes, live);
    atomic_fetch_and(&c->sparing, ~held);
    for (unsigned i = 0; i < SHARDS; i++)
        if (held >> i & 1) lock_release(&c->shard[i].lock);
}

void pool_take_apart(struct context *c, struct block *b) {
    site_took(b->kind, b->asked);
    if (sites_learn()) b->born = clock_ns();
    if (b->kind.kv) kv_changed(&c->counters->kv, (int64_t)b->asked, clock_ns());
}
void pool_give_apart(struct context *c, const struct block *b) {
    site_gave(b->kind, b->asked);
    if (sites_learn()) site_observe(b->kind, b->asked, clock_ns() - b->born);
    if (b->kind.kv) kv_changed(&c->counters->kv, -(int64_t)b->asked, clock_ns());
}
void pool_rounds(struct block *b, uint64_t slack) {
    counter_add(&b->context->counters->rounding_bytes, slack);
    budget_rounds(b, slack);
}

CUresult pool_free_in_driver(struct context *c, uint64_t address) {
    if (!context_enter(c)) return CUDA_ERROR_INVALID_CONTEXT;
    bool relaxed = capture_relax();
    CUresult freed = driver.cuMemFree_v2(address);
    capture_unrelax(relaxed);
    context_leave(c);
    context_noticed(c, freed);
    return freed;
}

/* A block begins its life, live, and ends it; in between it belongs to a membrane. */
static struct block *begin_block(struct context *c, uint64_t address, uint64_t size, uint64_t asked) {
    struct block *b = block_new(c, address, size, asked);
    if (!b) return NULL;
    b->kind = thread_device.kind;
    if (stands_apart(b->kind)) pool_take_apart(c, b);
    budget_born(b, true);
    return b;
}
void pool_end_block(struct block *b) {
    bool live = atomic_load_explicit(&b->state, memory_order_relaxed) != BLOCK_CACHED;
    if (live && stands_apart(b->kind)) pool_give_apart(b->context, b);
    budget_ended(b, live);
    block_recycle(b);
}

/* A new live block enters the books of its shard. */
static void count_alloc(struct context *c, struct block *b, bool hit) {
    struct shard *s = own_shard(c);
    if (b->size != b->asked) counter_add(&c->counters->rounding_bytes, b->size - b->asked);
    pool_look_at_claim(c, pool_claim(c, b->asked));
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
    pool_claim(c, -b->asked);
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
        counter_set(&c->shard[i].counts->spare_bytes, 0);
        lock_release(&c->shard[i].lock);
    }
    do {
        all.count = 0;
        block_each(collect, &all);
        for (unsigned i = 0; i < all.count; i++) block_hide(all.found[i]), pool_end_block(all.found[i]);
    } while (all.count > 0);
    if (c->pages) pages_drop(c->pages);
    counter_set(&d->reserved_bytes, 0), counter_set(&d->rounding_bytes, 0), counter_set(&d->claimed_bytes, 0);
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
