/* weights.c: blocks of weights, and what happens around the calls that write them; see weights.h. */
#include "device/weights_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "device/capture.h"
#include "device/pool.h"
#include "device/room.h"
#include "device/source.h"
#include "device/submit.h"

#define OWN_WAIT_NS 10000000000u  /* how long a write waits for work that may read what it needs a copy of */
#define RETRY_NS 1000000000u      /* after settling was not possible */

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

/* --- memory where there is none, and own copies */
static bool is_bare(const struct pages *p, uint32_t slot) { return atomic_load(&p->weights->slot[slot].state) == WEIGHT_BARE; }

/* Slots [first, end): the bare ones among them, one run after the other. */
static CUresult back_slots(struct pages *p, uint32_t first, uint32_t end) {
    CUresult answer = CUDA_SUCCESS;
    for (uint32_t slot = first, count; slot < end && answer == CUDA_SUCCESS; slot += count + 1) {
        for (count = 0; slot + count < end && is_bare(p, slot + count);) count++;
        if (count) answer = weight_back(p, slot, count);
    }
    return answer;
}

static CUresult back_block(struct weights_block *b) { return back_slots(b->pages, b->first, b->first + b->count); }

static COLD CUresult back_all(void) {
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
    if (bare && driver.cuMemGetInfo_v2(&left, &all) == CUDA_SUCCESS && left < size + bare) back_all();
}

/* Slots [first, last] that others have too get pages of their own. Waits until nothing that was submitted reads them. */
static COLD CUresult own_slots(struct pages *p, uint32_t first, uint32_t last) {
    uint64_t start = clock_ns();
    bool done = true;
    while (!submit_hold(true))
        if (capture_active() || clock_ns() - start > OWN_WAIT_NS) return CUDA_ERROR_UNKNOWN;
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    for (uint32_t slot = first; slot <= last; slot++)
        if (weight_is_read_only(atomic_load(&p->weights->slot[slot].state))) done &= weight_own_copy(p, slot);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    submit_let_go();
    return done ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static COLD CUresult leave_now(void) {
    CUresult answer = CUDA_SUCCESS;
    for (uint32_t i = 0; i < atomic_load(&weights_blocks) && answer == CUDA_SUCCESS; i++) {
        struct weights_block *b = &weights_block[i];
        struct pages *p = b->pages;
        for (uint32_t slot = b->first; p && slot < b->first + b->count && answer == CUDA_SUCCESS; slot++)
            if (p->weights->slot[slot].leaving) answer = own_slots(p, slot, slot);
    }
    return answer;
}

/* --- around calls */
static COLD void settle_what_waits(void) {
    static _Atomic uint64_t next;
    uint64_t now = clock_coarse_ns();
    if (now < atomic_load(&next)) return;
    atomic_store(&next, now + RETRY_NS);
    for (uint32_t i = 0; i < atomic_load(&weights_blocks); i++)
        if (weights_block[i].pages && weights_block[i].waiting) weights_settle(&weights_block[i]);
}

CUresult weights_work_begins(void) {
    CUresult answer = unlikely(atomic_load(&weights_bare)) ? back_all() : CUDA_SUCCESS;
    if (unlikely(atomic_load(&weights_unsettled)) && !capture_active()) settle_what_waits();
    if (unlikely(atomic_load(&weights_leaving)) && !capture_active() && answer == CUDA_SUCCESS) answer = leave_now();
    if (answer == CUDA_SUCCESS) submit_enter();
    return answer;
}

void weights_work_ends(void) { submit_leave(); }

static bool any_read_only(const struct pages *p, uint32_t first, uint32_t last) {
    for (uint32_t slot = first; slot <= last; slot++)
        if (weight_is_read_only(atomic_load(&p->weights->slot[slot].state))) return true;
    return false;
}

/* Inside: the slots are ours and will be written, by a piece of an upload or by other means. */
static CUresult about_to_write(struct pages *p, uint64_t address, uint64_t size, bool known) {
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    CUresult answer = back_slots(p, space_slot(&p->space, address), space_slot(&p->space, address + size - 1) + 1);
    for (uint64_t at = address, end = address + size, part; at < end && answer == CUDA_SUCCESS; at += part) {
        uint32_t slot = space_slot(&p->space, at), in = (uint32_t)(at % PAGE_BYTES);
        struct weight *w = &p->weights->slot[slot];
        part = PAGE_BYTES - in < end - at ? PAGE_BYTES - in : end - at;
        if (atomic_load(&w->state) == WEIGHT_OFFERED) weight_set(p, slot, WEIGHT_OWN);
        if (!known) picture_spoil(&w->picture, in, (uint32_t)part);
    }
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    return answer;
}

/* A capture writes there: whoever launches it later writes again and again. */
static COLD void leave_later(struct pages *p, uint32_t first, uint32_t last) {
    lock_take(&weights_lock);
    for (uint32_t slot = first; slot <= last; slot++) {
        struct weight *w = &p->weights->slot[slot];
        weights_block[w->block].excluded = true;
        if (weight_is_read_only(atomic_load(&w->state)) && !w->leaving) w->leaving = true, atomic_fetch_add(&weights_leaving, 1);
    }
    lock_release(&weights_lock);
}

static CUresult write_begins(struct pages *p, uint64_t address, uint64_t size, bool known) {
    uint32_t first = space_slot(&p->space, address), last = space_slot(&p->space, address + size - 1);
    if (capture_active()) leave_later(p, first, last);
    for (CUresult answer;;) {
        submit_enter();
        if (likely(!any_read_only(p, first, last)) || capture_active()) break;
        submit_leave();
        if ((answer = own_slots(p, first, last)) != CUDA_SUCCESS) return answer;
    }
    CUresult answer = about_to_write(p, address, size, known);
    if (answer != CUDA_SUCCESS) submit_leave();
    return answer;
}

/* The part of [address, address + size) that lies in the block around address. */
static uint64_t within(struct weight *w, uint64_t address, uint64_t size) {
    const struct weights_block *b = &weights_block[w->block];
    uint64_t left = b->address + b->count * PAGE_BYTES - address;
    return size < left ? size : left;
}

CUresult weights_write_begins(uint64_t address, uint64_t size, bool reads) {
    struct pages *p;
    uint32_t slot;
    struct weight *w = size ? weight_at(address, &p, &slot) : NULL;
    CUresult answer = reads && unlikely(atomic_load(&weights_bare)) ? back_all() : CUDA_SUCCESS;
    if (answer == CUDA_SUCCESS && w) return write_begins(p, address, within(w, address, size), false);
    if (answer == CUDA_SUCCESS) submit_enter();
    return answer;
}

/* --- uploads */
static bool is_of_host(uint64_t address) {
    unsigned type = 0;
    CUdeviceptr p = address;
    return !driver.cuPointerGetAttribute || driver.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p) != CUDA_SUCCESS ||
           type == CU_MEMORYTYPE_HOST;
}

static void sum_pieces(const struct weights_upload *u, uint64_t sum[WEIGHTS_UPLOAD_SLOTS]) {
    uint64_t start = clock_ns(), at = 0;
    for (unsigned i = 0; at < u->bytes; i++) {
        uint64_t in = (u->address + at) % PAGE_BYTES, part = PAGE_BYTES - in < u->bytes - at ? PAGE_BYTES - in : u->bytes - at;
        sum[i] = picture_sum((uint32_t)in, u->from + at, (uint32_t)part);
        at += part;
    }
    counter_add(&u->pages->context->counters->weights_ns, clock_ns() - start);
}

CUresult weights_upload_begins(struct weights_upload *u, uint64_t address, const void *from, uint64_t bytes, bool from_anywhere) {
    uint32_t slot;
    *u = (struct weights_upload){ .from = from, .address = address, .bytes = bytes };
    struct weight *w = bytes ? weight_at(address, &u->pages, &slot) : NULL;
    if (from_anywhere && !is_of_host((uint64_t)(uintptr_t)from)) {
        u->pages = NULL;
        return weights_write_begins(address, bytes, true);
    }
    if (!w || capture_active()) {
        u->pages = NULL;
        return weights_write_begins(address, bytes, false);
    }
    uint32_t waiting = weights_block[w->block].waiting, batch = weights_block[w->block].batch; /* what is not settled yet is part of the handful */
    uint64_t most = (waiting < batch ? batch - waiting : 1) * PAGE_BYTES - address % PAGE_BYTES, inside = within(w, address, bytes);
    if (inside == bytes) u->bytes = bytes < most ? bytes : most;
    else u->pages = NULL; /* beyond the block: the driver's to refuse */
    return u->pages ? write_begins(u->pages, address, u->bytes, true) : weights_write_begins(address, bytes, false);
}

void weights_upload_ends(const struct weights_upload *u, CUresult answer) {
    submit_leave();
    if (!u->pages || answer != CUDA_SUCCESS) return;
    struct pages *p = u->pages;
    struct weights_block *b = NULL;
    uint64_t sum[WEIGHTS_UPLOAD_SLOTS];
    sum_pieces(u, sum);
    lock_take(&weights_lock);
    for (uint64_t at = u->address, end = at + u->bytes, i = 0, part; at < end; at += part, i++) {
        uint32_t slot = space_slot(&p->space, at), in = (uint32_t)(at % PAGE_BYTES);
        struct weight *w = &p->weights->slot[slot];
        part = PAGE_BYTES - in < end - at ? PAGE_BYTES - in : end - at;
        if (atomic_load(&w->state) != WEIGHT_OWN) continue;
        b = &weights_block[w->block];
        picture_add(&w->picture, in, (uint32_t)part, sum[i]);
        uint64_t left = b->asked - (uint64_t)(slot - b->first) * PAGE_BYTES;
        if (b->excluded || !picture_is_complete(&w->picture, (uint32_t)(left < PAGE_BYTES ? left : PAGE_BYTES))) continue;
        p->weights->hash[slot] = weights_hash(p, w->picture.sum);
        weight_set(p, slot, WEIGHT_OFFERED);
    }
    bool due = b && b->waiting && (b->waiting >= b->batch || b->unfinished == 0);
    lock_release(&weights_lock);
    if (due) weights_settle(b);
}

/* --- questions and exclusion */
void weights_asked_about(uint64_t address) {
    struct pages *p;
    uint32_t slot;
    struct weight *w = weight_at(address, &p, &slot);
    if (!w || atomic_load(&w->state) != WEIGHT_BARE) return;
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    back_slots(p, slot, slot + 1);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
}

void weights_exclude(uint64_t address) {
    struct pages *p;
    uint32_t slot;
    struct weight *w = weight_at(address, &p, &slot);
    if (!w) return;
    struct weights_block *b = &weights_block[w->block];
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    b->excluded = true;
    back_block(b);
    for (slot = b->first; slot < b->first + b->count; slot++)
        if (atomic_load(&p->weights->slot[slot].state) == WEIGHT_OFFERED) weight_set(p, slot, WEIGHT_OWN);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    if (capture_active()) leave_later(p, b->first, b->first + b->count - 1);
    else if (any_read_only(p, b->first, b->first + b->count - 1)) own_slots(p, b->first, b->first + b->count - 1);
}

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
