/* pinned.c: the pool of page-locked memory; see pinned.h. Where a pin lies is pinned_table.c's. */
#include "device/pinned.h"
#include "base/clock.h"
#include "base/options.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/pinned_table.h"
#include "device/pool.h"
#include "device/room.h"
#include <string.h>


static struct demand demand;
static _Atomic uint64_t all_live, all_reserved, all_rounding; /* of the process */

static struct pinned_counters *counts_of(struct context *c) { return &c->counters->pinned; }

static uint64_t cached_bytes(void) {
    uint64_t used = atomic_load(&all_live) + atomic_load(&all_rounding), reserved = atomic_load(&all_reserved);
    return reserved > used ? reserved - used : 0;
}

/* --- the books */

static void book_reserved(struct context *c, uint64_t bytes) {
    struct pinned_counters *n = counts_of(c);
    atomic_fetch_add(&all_reserved, bytes);
    counter_raise(&n->peak_reserved_bytes, atomic_fetch_add(&n->reserved_bytes, bytes) + bytes);
}

static void book_live(struct context *c, uint64_t asked, uint64_t slack) {
    struct pinned_counters *n = counts_of(c);
    atomic_fetch_add(&all_rounding, slack), counter_add(&n->rounding_bytes, slack);
    counter_raise(&n->peak_live_bytes, atomic_fetch_add(&n->live_bytes, asked) + asked);
    demand_rises(&demand, atomic_fetch_add(&all_live, asked) + asked);
    counter_add(&n->allocs, 1);
}

static void book_freed(struct context *c, uint64_t asked, uint64_t slack) {
    struct pinned_counters *n = counts_of(c);
    atomic_fetch_sub(&all_live, asked), counter_add(&n->live_bytes, -asked);
    atomic_fetch_sub(&all_rounding, slack), counter_add(&n->rounding_bytes, -slack);
    counter_add(&n->frees, 1);
}

/* --- back to the driver */

static bool free_in_driver(struct context *c, uint64_t address) {
    if (!context_enter(c)) return false;
    bool relaxed = capture_relax();
    CUresult freed = driver.cuMemFreeHost((void *)(uintptr_t)address);
    capture_unrelax(relaxed);
    context_leave(c);
    context_noticed(c, freed);
    return freed == CUDA_SUCCESS;
}

/* A BUSY pin is the driver's again, or went with its context. */
static uint64_t book_gone(struct pin *p) {
    struct context *c = p->context;
    uint64_t size = p->size;
    book_reserved(c, -size);
    counter_add(&counts_of(c)->driver_frees, 1);
    pinned_table_recycle(p);
    return size;
}

/* A pin that was taken out of the table, BUSY. Returns its bytes; 0: the driver refused, and it is cached as before. */
static uint64_t release(struct pin *p) {
    return !free_in_driver(p->context, p->address) && pinned_table_keep(p, fence_tag()) ? 0 : book_gone(p);
}

/* The oldest go until `excess` bytes have gone: ready ones first; for the others the driver's free waits, as without us. */
static uint64_t trim(uint64_t excess, bool ready_alone) {
    uint64_t gone = 0;
    for (int only_ready = 1; only_ready >= ready_alone && gone < excess; only_ready--)
        for (struct pin *p; gone < excess && (p = pinned_table_oldest(only_ready));) {
            struct context *c = p->context;
            uint64_t bytes = release(p);
            if (bytes == 0) return gone;
            counter_add(&counts_of(c)->trims, 1), gone += bytes;
        }
    return gone;
}

/* What is cached beyond PINNED_MAX, or reserved beyond `keep`. */
static uint64_t beyond(uint64_t keep, uint64_t wanted) {
    uint64_t reserved = atomic_load(&all_reserved) + wanted, cached = cached_bytes(), most = option_number(pinned_max);
    uint64_t excess = cached > most ? cached - most : 0;
    return reserved > keep && reserved - keep > excess ? reserved - keep : excess;
}

uint64_t pinned_give_back(void) { return trim(UINT64_MAX, false); }

uint64_t pinned_chore(bool tight) {
    uint64_t live = atomic_load(&all_live);
    if (cached_bytes() == 0) return 0;
    demand_tick(&demand, live, clock_ns());
    uint64_t excess = beyond(tight ? demand_recent(&demand, live) : demand_keep(&demand, live), 0);
    return excess > 0 && fence_poll(fence_tag()) ? trim(excess, true) : 0;
}

/* --- allocations */

static uint64_t take(struct context *c, size_t size, unsigned kind) {
    struct pinned_wish wish = { c, size, kind, 0 };
    struct pin *p = pinned_table_take(&wish);
    if (!p && wish.pending && fence_wait(wish.pending, option_number(fence_wait)) && pool_is_open(c)) p = pinned_table_take(&wish);
    if (!p) return 0;
    book_live(c, size, p->size - size);
    counter_add(&counts_of(c)->hits, 1);
    if (option_number(zero)) memset((void *)(uintptr_t)p->address, 0, size);
    return p->address;
}

static CUresult ask_driver(void **address, size_t size, unsigned flags, bool plain) {
    return plain ? driver.cuMemAllocHost_v2(address, size) : driver.cuMemHostAlloc(address, size, flags);
}

/* Host memory is what is short, so the cached pins go first; then the chain of a full device. */
static CUresult ask_again(void **address, size_t size, unsigned flags, bool plain) {
    struct room room = { 0 };
    CUresult answer = ask_driver(address, size, flags, plain);
    if (answer == CUDA_ERROR_OUT_OF_MEMORY && pinned_give_back() > 0) answer = ask_driver(address, size, flags, plain);
    while (room_made(&room, answer)) answer = ask_driver(address, size, flags, plain);
    if (unlikely(room.links > 0)) room_settled(&room, answer);
    return answer;
}

static void adopt(struct context *c, uint64_t address, size_t size, unsigned kind) {
    struct pin *stale = pinned_table_claim(address); /* it went by a way that no hook sees */
    if (stale) book_freed(stale->context, stale->asked, stale->size - stale->asked), book_gone(stale);
    if (!pinned_table_add(c, address, size, kind)) return;
    book_reserved(c, size), book_live(c, size, 0);
    counter_add(&counts_of(c)->misses, 1), counter_add(&counts_of(c)->driver_allocs, 1);
    pool_begin_chores();
}

/* Cached pins beyond PINNED_MAX, or beyond what demand is worth when `wanted` bytes come, go back. */
static void make_room(uint64_t wanted) {
    uint64_t live = atomic_load(&all_live), cached = cached_bytes();
    demand_tick(&demand, live, clock_ns());
    uint64_t excess = beyond(demand_keep(&demand, live + wanted), wanted);
    if (excess > 0 && cached > 0) trim(excess < cached ? excess : cached, false);
}

CUresult pinned_alloc(void **address, size_t size, unsigned flags, bool plain) {
    struct context *c = context_current();
    unsigned kind = plain ? PINNED_PLAIN : flags;
    if (!c || !address || size == 0 || (!plain && flags > PINNED_FLAGS)) return ask_driver(address, size, flags, plain);
    bool open = pool_is_open(c);
    uint64_t hit = open ? take(c, size, kind) : 0;
    if (hit) {
        *address = (void *)(uintptr_t)hit;
        return CUDA_SUCCESS;
    }
    if (open) make_room(size);
    CUresult answer = ask_again(address, size, flags, plain);
    if (answer == CUDA_SUCCESS) adopt(c, (uint64_t)(uintptr_t)*address, size, kind);
    return answer;
}

/* --- frees */

static bool can_keep(const struct pin *p) { return pool_is_open(p->context) && !p->tainted && p->size <= option_number(pinned_max); }

/* The pin is BUSY and ours. */
static void keep(struct pin *p) {
    bool poison = option_number(poison) && !option_number(zero);
    if (option_number(free_sync) || fence_must_wait()) fence_drain(fence_must_wait() ? NULL : p->context);
    if (poison && fence_wait(fence_tag(), POISON_WAIT_NS)) memset((void *)(uintptr_t)p->address, POISON_BYTE, p->size);
    book_freed(p->context, p->asked, p->size - p->asked);
    if (!pinned_table_keep(p, fence_tag())) book_gone(p);
    make_room(0);
}

/* By the driver, as without us: the pin leaves the table before the call, since its address may come again at once. */
static CUresult free_through(struct pin *p) {
    CUresult answer = driver.cuMemFreeHost((void *)(uintptr_t)p->address);
    if (answer != CUDA_SUCCESS) return pinned_table_revive(p), answer;
    book_freed(p->context, p->asked, p->size - p->asked);
    book_gone(p);
    return answer;
}

CUresult pinned_free(void *address) {
    struct pinned_facts facts;
    struct pin *p = pinned_table_claim((uint64_t)(uintptr_t)address);
    if (p && can_keep(p)) return keep(p), CUDA_SUCCESS;
    if (p) return free_through(p);
    if (address && pinned_find((uint64_t)(uintptr_t)address, &facts) && facts.cached) return CUDA_ERROR_INVALID_VALUE; /* freed before */
    return driver.cuMemFreeHost(address);
}

void pinned_context_ended(struct context *c) {
    for (struct pin *p; (p = pinned_table_drop(c));) {
        if (p->state == PIN_LIVE) book_freed(c, p->asked, p->size - p->asked);
        book_gone(p);
    }
}

void pinned_fork_child(void) { pinned_table_fork_child(); }
