/* stitch.c: blocks out of gaps and pages, and back; see page.h.
 *
 * A plan is made and everything in it taken under the lock; then pages are mapped without it, because what was taken is
 * nobody else's. What a large block leaves over of its last page goes to a share, unless it is too little to matter. The
 * rest of a block (what is not whole pages) is laid where the least is left over: in one gap, or in two halves, one of which
 * uses up a back or a front gap and the other goes to the other edge. Where nothing fits it ends at the front of a new share. */
#include "device/page.h"
#include "device/capture.h"

enum { LITTLE_SHIFT = 9,   /* this part of a block is not worth sharing a page for */
       SPLIT_LEAST = 128 }; /* granules: smaller blocks are never laid in two halves */

struct plan {
    uint32_t whole;           /* pages of its own */
    uint32_t rest;            /* granules beside them */
    struct extent head, tail; /* gaps that it uses of, share NULL: none */
    uint32_t head_length, tail_length;
    bool fresh;               /* the tail lies in a new share */
};

/* --- making a plan: nothing changes */
struct search { struct gaps *gaps; struct plan base, best; uint32_t waste; };

/* A plan is better when it leaves less of its gaps over: what is left between two blocks of a page is for small ones only. */
static void consider(struct search *s, uint32_t whole, struct extent head, uint32_t head_length, struct extent tail, uint32_t tail_length) {
    uint32_t waste = (head.share ? head.length - head_length : 0) + (tail.share ? tail.length - tail_length : 0);
    if (waste >= s->waste) return;
    s->waste = waste;
    s->best = (struct plan){ whole, s->base.rest, head, tail, head_length, tail_length, false };
}

/* Begins in the gap, wholly used, or ends there; the other end goes where it fits best. A gap that is larger than the rest
 * saves a whole page. False ends the search. */
static bool with_gap(struct extent gap, void *search) {
    struct search *s = search;
    bool back = gap.at > 0, saves = gap.length > s->base.rest;
    if (saves && s->base.whole == 0) return true;
    uint32_t whole = s->base.whole - saves, left = s->base.rest + (saves ? GRANULES : 0) - gap.length;
    struct extent other = left ? gaps_find(s->gaps, back ? GAP_FRONT : GAP_BACK, left) : (struct extent){ 0 };
    if (left && !other.share) return true;
    if (back) consider(s, whole, gap, gap.length, other, left);
    else consider(s, whole, other, left, gap, gap.length);
    return s->waste > 0;
}

/* At the front of a new share, after all of the largest back gap. */
static struct plan fresh_plan(struct search *s) {
    struct plan plan = s->base;
    struct extent gap = gaps_largest(s->gaps, GAP_BACK);
    bool saves = gap.length > plan.rest;
    plan.fresh = true, plan.tail_length = plan.rest;
    if (!gap.share || gap.length == plan.rest || (saves && plan.whole == 0)) return plan;
    plan.whole -= saves, plan.head = gap, plan.head_length = gap.length;
    plan.tail_length = plan.rest + (saves ? GRANULES : 0) - gap.length;
    return plan;
}

static void lay_rest(struct gaps *g, struct plan *plan) {
    struct search s = { g, *plan, *plan, UINT32_MAX };
    struct extent none = { 0 }, front = gaps_find(g, GAP_FRONT, plan->rest), back = gaps_find(g, GAP_BACK, plan->rest);
    if (plan->rest == 0) return;
    if (front.share) consider(&s, plan->whole, none, 0, front, plan->rest);
    if (back.share) consider(&s, plan->whole, back, plan->rest, none, 0);
    if (s.waste > 0) gaps_each(g, GAP_BACK, with_gap, &s);
    if (s.waste > 0) gaps_each(g, GAP_FRONT, with_gap, &s);
    *plan = s.waste < UINT32_MAX ? s.best : fresh_plan(&s);
}

/* A small block in two halves, where neither would do. */
static bool lay_in_two(struct gaps *g, struct plan *plan) {
    struct search s = { g, *plan, *plan, UINT32_MAX };
    gaps_each(g, GAP_BACK, with_gap, &s);
    *plan = s.best;
    return s.waste < UINT32_MAX;
}

static struct plan plan_for(struct gaps *g, uint64_t asked) {
    uint64_t granules = (asked + GRANULE - 1) / GRANULE;
    struct plan plan = { .whole = (uint32_t)(granules / GRANULES), .rest = (uint32_t)(granules % GRANULES) };
    if (plan.rest && (uint64_t)(GRANULES - plan.rest) * GRANULE <= asked >> LITTLE_SHIFT) plan.whole++, plan.rest = 0;
    lay_rest(g, &plan);
    return plan;
}

/* --- small blocks: an extent of a share at its home */
static struct extent take_small(struct pages *p, struct extent gap, uint32_t length, bool *called) {
    struct page *page = gap.share ? gap.share->page : page_pop(p, true);
    if (!page) return gap;
    if (!gap.share && (page->share = gaps_add(&p->gaps, page))) gap = (struct extent){ page->share, 0, GRANULES };
    *called = page->home == NO_SLOT;
    if (gap.share && page_make_home(p, page)) return gaps_take(&p->gaps, gap, length, GAP_MIDDLE);
    if (gap.share && share_is_empty(gap.share)) gaps_remove(&p->gaps, gap.share), gap.share = NULL;
    if (!gap.share) page_push(p, page);
    return (struct extent){ 0 };
}

static uint64_t address_in_home(const struct pages *p, struct extent e) {
    const struct page *page = e.share->page;
    return space_address(&p->space, page->home) + (uint64_t)e.at * GRANULE;
}

/* --- large blocks */
/* Takes what the plan names, and a run of slots; under the lock. Returns the first slot, NO_SLOT when there is none. */
static uint32_t carry_out(struct pages *p, struct plan *plan, struct stitched *got) {
    struct page *fresh = plan->fresh ? page_pop(p, false) : NULL;
    if (fresh) {
        fresh->share = gaps_add(&p->gaps, fresh);
        if (!fresh->share) {
            page_push(p, fresh);
            return NO_SLOT;
        }
        plan->tail = (struct extent){ fresh->share, 0, GRANULES };
    }
    uint32_t slots = (plan->head_length > 0) + plan->whole + (plan->tail_length > 0), first = space_take(&p->space, slots), at = first;
    if (first == NO_SLOT) {
        if (fresh) gaps_remove(&p->gaps, fresh->share), page_push(p, fresh);
        return NO_SLOT;
    }
    got->address = space_address(&p->space, first) + (plan->head_length ? (uint64_t)(GRANULES - plan->head_length) * GRANULE : 0);
    got->size = plan->whole * PAGE_BYTES + (uint64_t)(plan->head_length + plan->tail_length) * GRANULE;
    if (plan->head_length) plan->head = gaps_take(&p->gaps, plan->head, plan->head_length, GAP_BACK), p->space.page[at++] = plan->head.share->page;
    for (uint32_t i = 0; i < plan->whole; i++) p->space.page[at++] = page_pop(p, false);
    if (plan->tail_length) plan->tail = gaps_take(&p->gaps, plan->tail, plan->tail_length, GAP_FRONT), p->space.page[at++] = plan->tail.share->page;
    for (uint32_t slot = first; slot < first + slots; slot++) p->space.owner[slot] = got->address;
    return first;
}

static uint32_t slots_of(const struct pages *p, uint64_t address, uint64_t size) {
    return space_slot(&p->space, address + size - 1) - space_slot(&p->space, address) + 1;
}

/* Maps the run's pages and opens them. On failure nothing of it stays mapped. */
static bool map_run(struct pages *p, uint32_t first, uint32_t count) {
    uint32_t done = 0;
    while (done < count && page_map(p, first + done, p->space.page[first + done])) done++;
    if (done == count && page_open_access(p, first, count)) return true;
    if (done > 0) page_unmap(p, first, done);
    return false;
}

/* --- giving back; under the lock. A page that may not serve again is put on `away`. */
static void leave_extent(struct pages *p, struct extent e, bool lost, struct page **away) {
    struct page *page = e.share->page;
    if (lost) gaps_lose(e);
    else gaps_give(&p->gaps, e);
    if (!share_is_empty(e.share)) return;
    bool spoiled = e.share->lost > 0;
    gaps_remove(&p->gaps, e.share);
    page->share = NULL;
    if (spoiled) page->next = *away, *away = page;
    else page_push(p, page);
}

/* The block's slots are empty, its pages and extents free. */
static void leave_run(struct pages *p, uint64_t address, uint64_t size, bool lost, struct page **away) {
    uint32_t first = space_slot(&p->space, address), count = slots_of(p, address, size);
    uint32_t head = (uint32_t)(address % PAGE_BYTES / GRANULE), tail = (uint32_t)((address + size) % PAGE_BYTES / GRANULE);
    for (uint32_t slot = first; slot < first + count; slot++) {
        struct page *page = p->space.page[slot];
        p->space.page[slot] = NULL, p->space.owner[slot] = 0;
        if (slot == first && head) leave_extent(p, (struct extent){ page->share, head, GRANULES - head }, lost, away);
        else if (slot == first + count - 1 && tail) leave_extent(p, (struct extent){ page->share, 0, tail }, lost, away);
        else if (lost) page->next = *away, *away = page;
        else page_push(p, page);
    }
    space_give(&p->space, first, count);
}

static void send_away(struct pages *p, struct page *away) {
    for (struct page *page; (page = away);) {
        away = page->next;
        page_release(p, page);
    }
}

/* --- what callers see */
/* Under the lock, which it releases. */
static enum pages_answer take_run(struct pages *p, struct plan *plan, struct stitched *got) {
    uint32_t need = plan->whole + plan->fresh, have = pages_free(p);
    uint32_t first = need <= have ? carry_out(p, plan, got) : NO_SLOT;
    lock_release(&p->lock);
    got->missing = need > have ? need - have : 0;
    if (first == NO_SLOT) return need > have ? PAGES_SHORT : PAGES_FAILED;
    got->called = true;
    bool mode = capture_relax();
    bool mapped = map_run(p, first, slots_of(p, got->address, got->size));
    capture_unrelax(mode);
    if (mapped) return PAGES_OK;
    lock_take(&p->lock);
    struct page *away = NULL;
    leave_run(p, got->address, got->size, false, &away);
    lock_release(&p->lock);
    return PAGES_FAILED;
}

/* Under the lock, which it releases. */
static enum pages_answer take_extent(struct pages *p, uint32_t length, struct stitched *got) {
    struct plan plan = { .rest = length };
    struct extent gap = gaps_find_anywhere(&p->gaps, length);
    if (!gap.share && length >= SPLIT_LEAST && lay_in_two(&p->gaps, &plan)) return take_run(p, &plan, got);
    bool short_of = !gap.share && pages_free(p) == 0;
    struct extent e = short_of ? gap : take_small(p, gap, length, &got->called);
    if (e.share) got->address = address_in_home(p, e), got->size = (uint64_t)length * GRANULE;
    lock_release(&p->lock);
    got->missing = 1;
    return e.share ? PAGES_OK : short_of ? PAGES_SHORT : PAGES_FAILED;
}

enum pages_answer pages_take(struct pages *p, uint64_t asked, struct stitched *got) {
    *got = (struct stitched){ 0 };
    lock_take(&p->lock);
    if (asked <= PAGE_BYTES - GRANULE) return take_extent(p, (uint32_t)((asked + GRANULE - 1) / GRANULE), got);
    struct plan plan = plan_for(&p->gaps, asked);
    return take_run(p, &plan, got);
}

bool pages_give(struct pages *p, uint64_t address, uint64_t size, bool lost) {
    uint32_t first = space_slot(&p->space, address);
    struct page *away = NULL;
    lock_take(&p->lock);
    bool home = p->space.owner[first] == 0;
    if (home) leave_extent(p, (struct extent){ p->space.page[first]->share, (uint32_t)(address % PAGE_BYTES / GRANULE), (uint32_t)(size / GRANULE) }, lost, &away);
    lock_release(&p->lock);
    bool mode = home && !away ? 0 : capture_relax();
    bool unmapped = home || page_unmap(p, first, slots_of(p, address, size));
    if (!home && unmapped) {
        lock_take(&p->lock);
        leave_run(p, address, size, lost, &away);
        lock_release(&p->lock);
    }
    send_away(p, away);
    if (!(home && !away)) capture_unrelax(mode);
    return unmapped;
}

uint64_t pages_base(struct pages *p, uint64_t address) {
    uint32_t slot = space_slot(&p->space, address);
    lock_take(&p->lock);
    struct page *page = p->space.page[slot];
    uint64_t base = page ? p->space.owner[slot] : 0;
    if (page && !base && page->share) {
        struct extent e = gaps_extent_at(page->share, (uint32_t)(address % PAGE_BYTES / GRANULE));
        if (e.share) base = address_in_home(p, e);
    }
    lock_release(&p->lock);
    return base;
}
