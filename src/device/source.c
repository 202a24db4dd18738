/* source.c: take apart, wait or grow: how the page backend comes by memory; see source.h. */
#include "device/source.h"
#include "base/clock.h"
#include "base/options.h"
#include "device/export.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/room.h"
#include "device/weights.h"

/* The first link of the chain gives the own cache back, whose pages have been used up before it begins. */
enum { OWN_LINK = 1, GROW_ROUNDS = 1000 };
/* Larger requests come whole from the driver. */
#define WHOLE_LEAST ((uint64_t)1 << 30)
/* Sizes that the program wanted to export; beyond so many the oldest is forgotten. */
enum { EXPORTS = 64 };
static _Atomic uint64_t exports[EXPORTS];
static _Atomic uint32_t export_count;

bool source_comes_whole(uint64_t asked) {
    uint32_t count = atomic_load_explicit(&export_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count && i < EXPORTS; i++)
        if (atomic_load_explicit(&exports[i], memory_order_relaxed) == asked) return true;
    return false;
}

void source_make_whole(uint64_t asked) {
    if (!source_comes_whole(asked)) atomic_store(&exports[atomic_fetch_add(&export_count, 1) % EXPORTS], asked);
}

static bool is_whole(const struct context *c, uint64_t asked) {
    return (asked > WHOLE_LEAST && asked > c->capacity / 8) || source_comes_whole(asked);
}

/* A request that found no room. */
struct want { uint64_t asked, start; struct room room; struct stitched got; bool called; /* the driver was */ };

/* Cached blocks whose epoch has passed become free memory until the request finds room; whole driver allocations among them
 * go back to the driver. True when something changed, so that trying again is worth it. */
static bool steal(struct context *c, uint64_t asked) { return pool_steal(c, asked) > 0; }

/* Room out of free pages and, as far as the reserve and the device allow, new ones. What is moved at once is bounded. */
static bool grow(struct context *c, struct want *w) {
    uint64_t missing = pages_missing(c->pages, w->asked), left;
    for (unsigned rounds = 0; rounds < GROW_ROUNDS; rounds++, missing = left) {
        if (missing > 0 && !room_is_left(missing)) return false;
        w->called = true;
        if (!pages_gather(c->pages, w->asked, missing)) return false;
        if (pages_fit(c->pages, w->asked)) return true;
        left = pages_missing(c->pages, w->asked);
        if (missing > 0 && left >= missing) return false;
    }
    return false;
}

/* When the device is full everything behind a fence is waited for, as the program's own frees would have; then the links
 * of room.h that come after the own cache. */
static bool come_by(struct context *c, struct want *w) {
    if (!w->start) w->start = clock_ns();
    if (steal(c, w->asked)) return true;
    uint64_t waited = clock_ns() - w->start, limit = option_number(fence_wait);
    if (waited < limit && pool_wait_for_any(c, limit - waited)) return true;
    if (pages_take_elsewhere(c->pages, w->asked, &w->got) || grow(c, w)) return true;
    if (capture_active()) return false;
    fence_drain(c);
    if (steal(c, w->asked)) return true;
    while (room_made_for(&w->room, CUDA_ERROR_OUT_OF_MEMORY, pages_missing(c->pages, w->asked)))
        if (grow(c, w)) return true;
    return false;
}

/* The memory is ours: it becomes a block. */
static uint64_t adopt(struct context *c, const struct want *w) {
    if (!pool_adopt_pages(c, w->got.address, w->got.size, w->asked, w->called)) {
        pages_give(c->pages, w->got.address, w->got.size, false);
        return 0;
    }
    if (unlikely(w->room.links > OWN_LINK)) room_settled(&w->room, CUDA_SUCCESS);
    if (unlikely(option_number(zero))) fill_bytes(c, w->got.address, 0, w->asked);
    return w->got.address;
}

uint64_t source_take(struct context *c, uint64_t asked) {
    struct pages *p = pages_of(c);
    if (!p || is_whole(c, asked)) return 0;
    struct want want = { .asked = asked, .room = { OWN_LINK } };
    while (want.got.size == 0 && !pages_take(p, asked, &want.got))
        if (!pool_is_open(c) || !come_by(c, &want)) return 0;
    return adopt(c, &want);
}

bool source_frees(const struct block *b) {
    return pages_hold(b->context->pages, b->address) && !(atomic_load(&b->context->gate) & GATE_CLOSED);
}

/* Whether a free is legal now is the driver's to say; an address that it does not know is its last objection. */
static bool driver_objects(const struct block *b, CUresult *answer) {
    if (!capture_active() && context_has_work(b->context)) return false;
    *answer = driver.cuMemFree_v2(b->address);
    return *answer != CUDA_ERROR_INVALID_VALUE && *answer != CUDA_SUCCESS;
}

/* It is nobody's block any more; what was shown of it is not to be had from now on. */
static bool disown(struct block *b) {
    if (!pool_disown(b->address)) return false;
    if (unlikely(atomic_load(&b->tainted))) export_ended(b->address);
    return true;
}

/* Nobody can wait for the work that may use it: it waits in the cache, or, where it was shown, until the context ends. */
static CUresult free_during_capture(struct block *b) {
    if (!atomic_load(&b->tainted) && !b->weights) return pool_keep(b) == POOL_KEPT ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (!disown(b)) return CUDA_ERROR_INVALID_VALUE;
    pool_disown_done(b);
    return CUDA_SUCCESS;
}

static CUresult free_pages(struct block *b) {
    struct context *c = b->context;
    if (!fence_finish(c)) return free_during_capture(b); /* one has begun just now */
    if (!disown(b)) return CUDA_ERROR_INVALID_VALUE;
    if (b->weights && !weights_give(b)) {
        pool_disown_failed(b);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!b->weights) pages_give(c->pages, b->address, b->size, atomic_load(&b->tainted));
    pool_disown_done(b);
    if (!pool_is_open(c)) pages_shrink(c->pages, UINT64_MAX); /* POOL_MAX=0 */
    return CUDA_SUCCESS;
}

CUresult source_free(struct block *b) {
    CUresult answer;
    if (driver_objects(b, &answer)) return answer;
    return capture_active() ? free_during_capture(b) : free_pages(b);
}

static struct pages *pages_around(uint64_t address) {
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (pages_hold(contexts[i]->pages, address)) return contexts[i]->pages;
    return NULL;
}

bool source_owns(uint64_t address) { return pages_around(address) != NULL; }

uint64_t source_base(uint64_t address) {
    struct pages *p = pages_around(address);
    return p ? pages_base(p, address) : 0;
}

void source_admit(struct context *peer, CUdevice device) {
    if (peer && pages_of(peer)) pages_admit(peer->pages, device);
}
