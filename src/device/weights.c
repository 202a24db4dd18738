/* weights.c: blocks of weights, from their allocation, which takes addresses only, until they are freed, and when their bare slots get
 * memory; see weights.h. */
#include "device/weights_parts.h"
#include "base/log.h"
#include "base/options.h"
#include "device/capture.h"
#include "device/pool.h"
#include "device/room.h"
#include "device/source.h"
#include "device/submit.h"

_Atomic bool weights_on;
const struct weights_peers *weights_peers;
struct lock weights_lock = LOCK_INIT(RANK_WEIGHTS), weights_settling = LOCK_INIT(RANK_SETTLE);
struct weights_block weights_block[WEIGHTS_BLOCKS];
_Atomic uint32_t weights_blocks;
_Atomic uint32_t weights_bare, weights_unsettled, weights_leaving;

void weights_start(void) {
    if (!option_number(share_weights)) return;
    bool can = driver.cuMemExportToShareableHandle && driver.cuMemImportFromShareableHandle && driver.cuMemcpyDtoHAsync_v2 &&
               driver.cuMemcpyDtoDAsync_v2 && driver.cuStreamCreate && driver.cuStreamSynchronize && driver.cuMemGetAccess;
    const char *why = option_number(device_backend) != BACKEND_PAGE ? "it needs DEVICE_BACKEND=page" : can ? NULL : "the driver cannot share pages";
    if (why) log_line(OPTION_PREFIX "SHARE_WEIGHTS: weights are not shared: ", why, NULL);
    atomic_store(&weights_on, why == NULL);
}

/* --- slots */
struct weight *weight_at(uint64_t address, struct pages **pages, uint32_t *slot) {
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        struct pages *p = contexts[i]->pages;
        if (!pages_hold(p, address) || !p->weights) continue;
        *pages = p, *slot = space_slot(&p->space, address);
        return atomic_load(&p->weights->slot[*slot].state) == WEIGHT_NONE ? NULL : &p->weights->slot[*slot];
    }
    return NULL;
}

void weight_set(struct pages *p, uint32_t slot, enum weight_state to) {
    struct weight *w = &p->weights->slot[slot];
    uint8_t from = atomic_load(&w->state);
    if (from == to) return;
    if (from == WEIGHT_BARE || to == WEIGHT_BARE) {
        counter_add(&p->context->counters->weights_bare_bytes, to == WEIGHT_BARE ? PAGE_BYTES : -PAGE_BYTES);
        atomic_fetch_add(&weights_bare, to == WEIGHT_BARE ? 1u : -1u);
    }
    if (from == WEIGHT_OFFERED && !w->settled) weights_block[w->block].waiting--, atomic_fetch_sub(&weights_unsettled, 1);
    if (to == WEIGHT_OFFERED) w->settled = false, weights_block[w->block].waiting++, atomic_fetch_add(&weights_unsettled, 1);
    if (to < WEIGHT_OFFERED) p->weights->hash[slot] = 0;
    weights_block[w->block].unfinished += (from >= WEIGHT_OFFERED) - (to >= WEIGHT_OFFERED);
    if (!weight_is_read_only(to) && w->leaving) w->leaving = false, atomic_fetch_sub(&weights_leaving, 1);
    atomic_store(&w->state, to);
}

/* --- blocks */
/* Out of memory is an answer to allocations, not to uploads: there must be room for all of it. */
static bool has_room(const struct context *c, uint64_t size) {
    size_t left = 0, all = 0;
    return room_is_left(size) && driver.cuMemGetInfo_v2(&left, &all) == CUDA_SUCCESS && left >= size + weights_bare_on(c->ordinal);
}

static struct weights_block *free_entry(void) {
    for (uint32_t i = 0; i < WEIGHTS_BLOCKS; i++)
        if (!weights_block[i].pages) {
            if (i >= atomic_load(&weights_blocks)) atomic_store(&weights_blocks, i + 1);
            return &weights_block[i];
        }
    return NULL;
}

static uint32_t take_slots(struct pages *p, uint32_t count) {
    lock_take(&p->lock);
    uint32_t first = space_take(&p->space, count);
    for (uint32_t slot = first; first != NO_SLOT && slot < first + count; slot++)
        p->space.page[slot] = NULL, p->space.owner[slot] = space_address(&p->space, first);
    lock_release(&p->lock);
    return first;
}

static struct weights_block *make(struct pages *p, uint64_t asked) {
    struct weights_block *b = free_entry();
    uint32_t count = (uint32_t)((asked + PAGE_BYTES - 1) / PAGE_BYTES), first = b ? take_slots(p, count) : NO_SLOT;
    if (first == NO_SLOT) return NULL;
    *b = (struct weights_block){ .pages = p, .address = space_address(&p->space, first), .asked = asked, .first = first, .count = count, .unfinished = count, .batch = WEIGHTS_BATCH };
    for (uint32_t slot = first; slot < first + count; slot++) {
        p->weights->slot[slot] = (struct weight){ .block = (uint16_t)(b - weights_block) };
        weight_set(p, slot, WEIGHT_BARE);
    }
    struct device_counters *d = p->context->counters;
    counter_raise(&d->peak_reserved_bytes, atomic_fetch_add(&d->reserved_bytes, count * PAGE_BYTES) + count * PAGE_BYTES);
    counter_add(&d->weights_bytes, count * PAGE_BYTES);
    return b;
}

static void unmake(struct weights_block *b) {
    struct pages *p = b->pages;
    struct device_counters *d = p->context->counters;
    for (uint32_t slot = b->first; slot < b->first + b->count; slot++) weight_drop(p, slot);
    lock_take(&p->lock);
    for (uint32_t slot = b->first; slot < b->first + b->count; slot++) p->space.owner[slot] = 0;
    space_give(&p->space, b->first, b->count);
    lock_release(&p->lock);
    counter_add(&d->reserved_bytes, -(b->count * PAGE_BYTES)), counter_add(&d->weights_bytes, -(b->count * PAGE_BYTES));
    *b = (struct weights_block){ 0 };
}

uint64_t weights_take(struct context *c, uint64_t asked) {
    struct pages *p = pages_of(c);
    if (!p || asked > c->capacity || source_comes_whole(asked) || !weights_open(p) || !has_room(c, asked)) return 0;
    lock_take(&weights_lock);
    struct weights_block *b = make(p, asked);
    uint64_t address = b ? b->address : 0, size = b ? b->count * PAGE_BYTES : 0;
    lock_release(&weights_lock);
    if (!b) return 0;
    if (!pool_adopt_pages(c, address, size, asked, true)) {
        lock_take(&weights_lock);
        unmake(b);
        lock_release(&weights_lock);
        return 0;
    }
    block_find(address)->weights = true;
    if (weights_peers) weights_peers->start();
    return address;
}

bool weights_give(struct block *block) {
    struct pages *p;
    uint32_t slot;
    struct weight *w = weight_at(block->address, &p, &slot);
    if (!w) return false;
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    unmake(&weights_block[w->block]);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    return true;
}

/* Its pages go with all others of the context (pages_drop). */
void weights_context_ended(struct context *c) {
    struct pages *p = c->pages;
    if (!p || !p->weights) return;
    lock_take(&weights_lock);
    for (uint32_t i = 0; i < atomic_load(&weights_blocks); i++) {
        struct weights_block *b = &weights_block[i];
        if (b->pages != p) continue;
        for (uint32_t slot = b->first; slot < b->first + b->count; slot++) weight_set(p, slot, WEIGHT_NONE);
        *b = (struct weights_block){ 0 };
    }
    p->weights->look = NO_SLOT;
    counter_set(&c->counters->weights_bytes, 0), counter_set(&c->counters->weights_once_bytes, 0);
    lock_release(&weights_lock);
}

uint64_t weights_bare_on(CUdevice device) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->ordinal == device) bytes += counter_get(&contexts[i]->counters->weights_bare_bytes);
    return bytes;
}

/* --- memory where there is none */
static bool is_bare(const struct pages *p, uint32_t slot) { return atomic_load(&p->weights->slot[slot].state) == WEIGHT_BARE; }

CUresult weights_back_slots(struct pages *p, uint32_t first, uint32_t end) {
    CUresult answer = CUDA_SUCCESS;
    for (uint32_t slot = first, count; slot < end && answer == CUDA_SUCCESS; slot += count + 1) {
        for (count = 0; slot + count < end && is_bare(p, slot + count);) count++;
        if (count) answer = weight_back(p, slot, count);
    }
    return answer;
}

/* While nothing is found memory is taken as far ahead as pages are waited for: fewer calls of the driver. What is refused there is
 * asked for again when an upload reaches it. */
CUresult weights_back_ahead(struct pages *p, uint32_t first, uint32_t end) {
    while (first < end && !is_bare(p, first)) first++;
    if (first == end) return CUDA_SUCCESS;
    const struct weights_block *b = &weights_block[p->weights->slot[first].block];
    const uint32_t far = first + b->batch, all = b->first + b->count;
    if (b->batch > WEIGHTS_BATCH && far > end) weights_back_slots(p, first, far < all ? far : all);
    return weights_back_slots(p, first, end);
}

static CUresult back_block(struct weights_block *b) { return weights_back_slots(b->pages, b->first, b->first + b->count); }

CUresult weights_back_all(void) {
    CUresult answer = CUDA_SUCCESS;
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    for (uint32_t i = 0; i < atomic_load(&weights_blocks) && answer == CUDA_SUCCESS; i++)
        if (weights_block[i].pages) answer = back_block(&weights_block[i]);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    return answer;
}

void weights_keep_promises(uint64_t size) {
    size_t left = 0, all = 0;
    struct context *c = context_current();
    uint64_t bare = c ? weights_bare_on(c->ordinal) : 0;
    if (bare && driver.cuMemGetInfo_v2(&left, &all) == CUDA_SUCCESS && left < size + bare) weights_back_all();
}

/* --- questions */
bool weights_are_own(uint64_t address) {
    struct pages *p;
    uint32_t slot;
    struct weight *w = weight_at(address, &p, &slot);
    if (!w) return true;
    lock_take(&weights_lock);
    const struct weights_block *b = &weights_block[w->block];
    bool own = b->excluded;
    for (slot = b->first; slot < b->first + b->count; slot++) own &= atomic_load(&p->weights->slot[slot].state) == WEIGHT_OWN;
    lock_release(&weights_lock);
    return own;
}

void weights_fork_child(void) {
    atomic_store(&weights_on, false);
    lock_reset(&weights_lock), lock_reset(&weights_settling);
    submit_fork_child();
}
