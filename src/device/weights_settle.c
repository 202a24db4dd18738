/* weights_settle.c: who has the same page; see weights.h. Settling belongs to the thread that uploads; lending to the one that answers
 * peers. What peers are asked about may have changed when they answer: everything is looked at again while submissions are held. */
#include "device/weights_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "device/capture.h"
#include "device/submit.h"
#include <unistd.h>

enum { SLOT_BITS = 24 };

/* Never 0; other devices' pages have other hashes. */
uint64_t weights_hash(const struct pages *p, uint64_t sum) {
    uint64_t h = (sum ^ counter_get(&p->context->counters->uuid_low)) * 0x9e3779b97f4a7c15u;
    return (h ^ h >> 32) | 1;
}

/* May what lies in this block be anybody else's? */
static bool may_share(const struct weights_block *b) { return b->pages && !b->excluded && b->pages->access_count == 1; }

/* A slot of these pages with this hash, other than `not_this`, that has been settled; NO_SLOT: none. */
static uint32_t twin_of(const struct pages *p, uint64_t hash, uint32_t not_this) {
    for (uint32_t i = 0; i < atomic_load(&weights_blocks); i++) {
        const struct weights_block *b = &weights_block[i];
        if (b->pages != p || !may_share(b)) continue;
        for (uint32_t slot = b->first; slot < b->first + b->count; slot++)
            if (p->weights->hash[slot] == hash && slot != not_this && p->weights->slot[slot].settled) return slot;
    }
    return NO_SLOT;
}

/* --- settling */
struct candidate { uint32_t slot, twin; uint64_t hash; struct page *page; };
struct batch { struct candidate of[WEIGHTS_BATCH_MOST]; unsigned count, found; };

static void collect(const struct weights_block *b, struct batch *batch) {
    lock_take(&weights_lock);
    for (uint32_t slot = b->first; may_share(b) && slot < b->first + b->count && batch->count < WEIGHTS_BATCH_MOST; slot++) {
        const struct weight *w = &b->pages->weights->slot[slot];
        if (atomic_load(&w->state) != WEIGHT_OFFERED || w->settled) continue;
        uint64_t hash = b->pages->weights->hash[slot];
        batch->of[batch->count] = (struct candidate){ slot, twin_of(b->pages, hash, slot), hash, NULL };
        batch->found += batch->of[batch->count++].twin != NO_SLOT;
    }
    lock_release(&weights_lock);
}

static void ask_peers(struct pages *p, struct batch *batch) {
    uint64_t hash[WEIGHTS_BATCH_MOST];
    int fd[WEIGHTS_BATCH_MOST];
    static bool said;
    for (unsigned i = 0; i < batch->count; i++) hash[i] = batch->of[i].twin == NO_SLOT ? batch->of[i].hash : 0, fd[i] = -1;
    if (weights_peers) weights_peers->find(hash, batch->count, fd);
    for (unsigned i = 0; i < batch->count; i++) {
        if (fd[i] < 0) continue;
        batch->of[i].page = weight_import(p, fd[i]);
        batch->found += batch->of[i].page != NULL;
        if (!batch->of[i].page && !said) log_line("sharing weights: a peer sent a descriptor that is no page of this device; it is refused", NULL), said = true;
        if (!batch->of[i].page) counter_add(&p->context->counters->weights_refused, 1);
        close(fd[i]);
    }
}

/* Is it still what it was when peers were asked? */
static bool is_as_it_was(const struct pages *p, const struct candidate *c) {
    const struct weights *w = p->weights;
    if (atomic_load(&w->slot[c->slot].state) != WEIGHT_OFFERED || w->hash[c->slot] != c->hash) return false;
    return c->twin == NO_SLOT || w->hash[c->twin] == c->hash;
}

/* Submissions are held, under the weights lock. */
static void compare_and_replace(struct pages *p, struct candidate *c) {
    struct device_counters *d = p->context->counters;
    struct page *page = c->twin == NO_SLOT ? c->page : p->space.page[c->twin];
    if (!page || !is_as_it_was(p, c)) return;
    bool equal = weight_is_equal(p, c->slot, page, c->twin);
    if (equal && c->twin != NO_SLOT && !page->read_only) {
        equal = weight_open_access(p, c->twin, false);
        if (equal) weight_set(p, c->twin, WEIGHT_LENT);
    }
    equal = equal && weight_replace(p, c->slot, page);
    counter_add(equal ? &d->weights_equal : &d->weights_refused, 1);
}

static void mark_settled(struct pages *p, const struct candidate *c) {
    struct weight *w = &p->weights->slot[c->slot];
    if (w->settled || p->weights->hash[c->slot] != c->hash) return;
    if (atomic_load(&w->state) == WEIGHT_OFFERED) weights_block[w->block].waiting--, atomic_fetch_sub(&weights_unsettled, 1);
    w->settled = true;
    counter_add(&p->context->counters->weights_offered, 1);
}

/* Candidates [from, to). False: it was not possible now; what was found is given back, and the pages wait for another time. */
static bool settle_some(struct pages *p, struct batch *batch, unsigned from, unsigned to) {
    bool hold = batch->found > 0, held = hold && submit_hold(false);
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    for (unsigned i = from; i < to; i++) {
        struct candidate *c = &batch->of[i];
        if (held) compare_and_replace(p, c);
        if (held || !hold) mark_settled(p, c);
        if (c->page && c->page->users == 0) weight_unuse(p, c->page);
    }
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    if (held) submit_let_go();
    return held || !hold;
}

static bool settle_batch(struct pages *p, struct batch *batch) {
    bool possible = true;
    for (unsigned from = 0, to; from < batch->count; from = to) {
        to = from + WEIGHTS_BATCH < batch->count ? from + WEIGHTS_BATCH : batch->count;
        possible &= settle_some(p, batch, from, to);
    }
    return possible;
}

void weights_settle(struct weights_block *b) {
    struct pages *p = b->pages;
    if (!p || !lock_try(&weights_settling)) return; /* whoever settles just now will see it, or the next one */
    uint64_t start = clock_ns();
    for (bool possible = true; possible;) {
        struct batch batch = { .count = 0 };
        collect(b, &batch);
        if (batch.count == 0) break;
        ask_peers(p, &batch);
        b->batch = batch.found ? WEIGHTS_BATCH : b->batch * 2 < WEIGHTS_BATCH_MOST ? b->batch * 2 : WEIGHTS_BATCH_MOST;
        possible = settle_batch(p, &batch);
    }
    counter_add(&p->context->counters->weights_ns, clock_ns() - start);
    lock_release(&weights_settling);
}

/* --- lending */
uint32_t weights_offered(uint64_t hash) {
    uint32_t number = 0;
    lock_take(&weights_lock);
    for (uint32_t i = 0; i < atomic_load(&weights_blocks) && !number && hash; i++) {
        const struct weights_block *b = &weights_block[i];
        for (uint32_t slot = b->first; may_share(b) && slot < b->first + b->count && !number; slot++)
            if (b->pages->weights->hash[slot] == hash) number = ((b->pages->context->index << SLOT_BITS) | slot) + 1;
    }
    lock_release(&weights_lock);
    return number;
}

static struct weight *numbered(uint32_t number, struct pages **pages, uint32_t *slot) {
    uint32_t index = (number - 1) >> SLOT_BITS;
    *slot = (number - 1) & ((1u << SLOT_BITS) - 1);
    *pages = number > 0 && index < CONTEXTS && contexts[index] ? contexts[index]->pages : NULL;
    return *pages && (*pages)->weights && *slot < (*pages)->space.slots ? &(*pages)->weights->slot[*slot] : NULL;
}

/* Submissions are held: kernels only read the slot from now on, and all of its block that is settled, since who asks for one page of a
 * model asks for all. */
static void freeze(struct pages *p, uint32_t asked) {
    struct weights_block *b = &weights_block[p->weights->slot[asked].block];
    for (uint32_t slot = b->first; slot < b->first + b->count; slot++) {
        const struct weight *w = &p->weights->slot[slot];
        if (atomic_load(&w->state) == WEIGHT_OFFERED && (slot == asked || w->settled) && weight_open_access(p, slot, false)) weight_set(p, slot, WEIGHT_LENT);
    }
}

static bool is_offered(const struct weight *w, bool to_older) {
    return atomic_load(&w->state) == WEIGHT_OFFERED && may_share(&weights_block[w->block]) && (w->settled || !to_older);
}

int weights_lend(uint32_t number, bool to_older) {
    struct pages *p;
    uint32_t slot;
    int fd = -1;
    struct weight *w = numbered(number, &p, &slot);
    if (!w) return fd;
    lock_take(&weights_lock);
    bool freezing = is_offered(w, to_older);
    lock_release(&weights_lock);
    if (freezing && !submit_hold(false)) return fd;
    bool relaxed = capture_relax();
    lock_take(&weights_lock);
    if (freezing && is_offered(w, to_older)) freeze(p, slot);
    if (weight_is_read_only(atomic_load(&w->state)) && may_share(&weights_block[w->block])) fd = weight_export(p->space.page[slot]);
    lock_release(&weights_lock);
    capture_unrelax(relaxed);
    if (freezing) submit_let_go();
    return fd;
}
