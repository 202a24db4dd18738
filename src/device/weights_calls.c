/* weights_calls.c: what happens around the calls of the driver that write weights, read what may be weights, or show what lies there; see
 * weights.h. Calls that write make own copies first, uploads are hashed and settled as they go by, and what is shown is excluded. */
#include "device/weights_parts.h"
#include "base/clock.h"
#include "device/capture.h"
#include "device/submit.h"

#define OWN_WAIT_NS 10000000000u  /* how long a write waits for work that may read what it needs a copy of */
#define RETRY_NS 1000000000u      /* after settling was not possible */

/* --- own copies */
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
    CUresult answer = unlikely(atomic_load(&weights_bare)) ? weights_back_all() : CUDA_SUCCESS;
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
    uint32_t first = space_slot(&p->space, address), last = space_slot(&p->space, address + size - 1);
    CUresult answer = known ? weights_back_ahead(p, first, last + 1) : weights_back_slots(p, first, last + 1);
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
    CUresult answer = reads && unlikely(atomic_load(&weights_bare)) ? weights_back_all() : CUDA_SUCCESS;
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
    weights_back_slots(p, slot, slot + 1);
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
    weights_back_slots(p, b->first, b->first + b->count);
    for (slot = b->first; slot < b->first + b->count; slot++)
        if (atomic_load(&p->weights->slot[slot].state) == WEIGHT_OFFERED) weight_set(p, slot, WEIGHT_OWN);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    if (capture_active()) leave_later(p, b->first, b->first + b->count - 1);
    else if (any_read_only(p, b->first, b->first + b->count - 1)) own_slots(p, b->first, b->first + b->count - 1);
}
