/* gather.c: free pages that are moved or given back, and new ones; see page.h.
 *
 * What is moved leaves the books under the lock (a *haul*), then nobody else can reach it, so the driver is called without the lock:
 * runs of pages that lie side by side are unmapped by one call, everything is mapped at one place and opened by one call. */
#include "device/page.h"
#include "device/capture.h"

/* A page is this part of all pages at most, and so many slots. The larger, the fewer calls, and the more is free beside live blocks: of
 * the parts tried this is the largest that leaves a margin to 1.02 reserved over live on all large traces of docs/TRACE.md. */
enum { FEW = 2560, UNIT_MOST = 16 };

/* --- what is free */
/* The first pages that lie wholly in a free extent, side by side, up to `most` slots. */
struct search { struct pages *pages; const struct extent *but; uint32_t most; struct run run; };
static bool whole_pages(const struct extent *e, void *with) {
    struct search *s = with;
    struct page **page = s->pages->space.page;
    uint32_t slot = (uint32_t)((e->at + PAGE_GRANULES - 1) / PAGE_GRANULES), end = (uint32_t)((e->at + e->length) / PAGE_GRANULES);
    if (e == s->but) return false;
    while (slot < end && page[slot]->home != slot) slot = page[slot]->home + page[slot]->count;
    s->run = (struct run){ slot, 0 };
    while (slot < end && s->run.count < s->most && slot + page[slot]->count <= end) s->run.count += page[slot]->count, slot += page[slot]->count;
    return s->run.count > 0;
}

static bool find_run(struct search *s) {
    for (unsigned area = AREAS; area-- > 0;)
        if (extents_find(&s->pages->extents, area, PAGE_GRANULES, whole_pages, s)) return true;
    return false;
}

void haul_free(struct pages *p, struct haul *haul, uint32_t slots, const struct extent *but) {
    *haul = (struct haul){ .runs = 0 };
    while (haul->slots < slots && haul->runs < RUNS) {
        struct search s = { .pages = p, .but = but, .most = slots - haul->slots };
        if (!find_run(&s) || !extents_remove(&p->extents, (uint64_t)s.run.first * PAGE_GRANULES, (uint64_t)s.run.count * PAGE_GRANULES)) return;
        haul->run[haul->runs++] = s.run, haul->slots += s.run.count;
    }
}

static void put_back(struct pages *p, struct run run) {
    extents_add(&p->extents, (uint64_t)run.first * PAGE_GRANULES, (uint64_t)run.count * PAGE_GRANULES);
}

static struct page *leave_home(struct pages *p, struct run run, struct page *list) {
    for (uint32_t slot = run.first; slot < run.first + run.count;) {
        struct page *page = p->space.page[slot];
        for (uint32_t i = 0; i < page->count; i++) p->space.page[slot++] = NULL;
        page->home = NO_SLOT, page->next = list, list = page;
    }
    space_give(&p->space, run.first, run.count);
    return list;
}

/* Under the lock. It may still be mapped at its home. */
static void condemn(struct pages *p, struct page *page) { page->next = p->condemned, p->condemned = page; }

struct page *haul_unmap(struct pages *p, struct haul *haul) {
    struct page *list = NULL;
    for (unsigned i = 0; i < haul->runs; i++) {
        struct run run = haul->run[i];
        bool unmapped = page_unmap(p, run.first, run.count);
        lock_take(&p->lock);
        if (unmapped) list = leave_home(p, run, list);
        else if (haul->lost) condemn(p, p->space.page[run.first]);
        else put_back(p, run);
        lock_release(&p->lock);
    }
    return list;
}

/* --- what is missing */
static uint32_t area_begin(const struct pages *p, enum area area) { return area == AREA_SMALL ? 0 : p->border; }
static uint32_t area_end(const struct pages *p, enum area area) { return area == AREA_SMALL ? p->border : p->space.slots; }

/* The free extent that new memory would be mapped behind. */
static struct extent *tail_of(struct pages *p, enum area area) {
    uint64_t end = (uint64_t)p->rover[area] * PAGE_GRANULES;
    struct extent *e = p->rover[area] > area_begin(p, area) ? extents_at(&p->extents, end - 1) : NULL;
    return e && e->state == EXTENT_FREE ? e : NULL;
}

/* Slots that have to be mapped, and what lies before them and is free already. */
static uint32_t slots_missing(struct pages *p, uint64_t asked, struct extent **tail) {
    enum area area = pages_area(asked);
    uint64_t length = pages_granules(asked);
    *tail = tail_of(p, area);
    uint64_t left = *tail ? length - (*tail)->length : length;
    uint32_t slots = (uint32_t)((left + PAGE_GRANULES - 1) / PAGE_GRANULES);
    if (!*tail || (p->rover[area] + slots <= area_end(p, area) && space_is_empty(&p->space, p->rover[area], slots))) return slots;
    *tail = NULL;
    return (uint32_t)((length + PAGE_GRANULES - 1) / PAGE_GRANULES);
}

struct sum { struct search search; uint64_t slots; };
static bool add_whole(const struct extent *e, void *with) {
    struct sum *sum = with;
    if (whole_pages(e, &sum->search)) sum->slots += sum->search.run.count;
    return sum->slots >= sum->search.most;
}

uint64_t pages_missing(struct pages *p, uint64_t asked) {
    struct extent *tail;
    lock_take(&p->lock);
    bool fit = extents_fit(&p->extents, pages_area(asked), pages_granules(asked));
    uint32_t slots = fit ? 0 : slots_missing(p, asked, &tail);
    struct sum sum = { .search = { .pages = p, .but = fit ? NULL : tail, .most = slots } };
    for (const struct page *page = p->loose; page; page = page->next) sum.slots += page->count;
    for (unsigned area = 0; area < AREAS && sum.slots < slots; area++) extents_find(&p->extents, area, PAGE_GRANULES, add_whole, &sum);
    lock_release(&p->lock);
    return sum.slots < slots ? (slots - sum.slots) * PAGE_BYTES : 0;
}

/* --- pages that are nowhere */
static struct page *take_loose(struct pages *p, uint32_t slots, uint32_t *got) {
    struct page *list = NULL;
    for (struct page *page; *got < slots && (page = p->loose);) p->loose = page->next, page->next = list, list = page, *got += page->count;
    return list;
}

static void make_loose(struct pages *p, struct page *page) {
    lock_take(&p->lock);
    page->home = NO_SLOT, page->next = p->loose, p->loose = page;
    lock_release(&p->lock);
}

static struct page *new_page(struct pages *p, uint32_t slots) {
    struct device_counters *d = p->context->counters;
    CUmemGenericAllocationHandle handle;
    uint64_t bytes = slots * PAGE_BYTES;
    if (driver.cuMemCreate(&handle, bytes, &p->property, 0) != CUDA_SUCCESS) return NULL;
    lock_take(&p->lock);
    struct page *page = page_descriptor(p);
    if (page) *page = (struct page){ .handle = handle, .home = NO_SLOT, .count = slots }, p->count += slots;
    lock_release(&p->lock);
    if (!page) {
        driver.cuMemRelease(handle);
        return NULL;
    }
    counter_raise(&d->peak_reserved_bytes, atomic_fetch_add(&d->reserved_bytes, bytes) + bytes);
    counter_add(&d->driver_allocs, 1);
    return page;
}

/* New pages, before the others of the list. Where the driver has no large one, small ones are tried. */
static struct page *create(struct pages *p, enum area area, uint32_t slots, struct page *list) {
    uint32_t unit = area == AREA_SMALL ? 1 : p->count / FEW;
    unit = unit < 1 ? 1 : unit > UNIT_MOST ? UNIT_MOST : unit;
    while (slots > 0) {
        struct page *page = new_page(p, unit < slots ? unit : slots);
        if (!page && unit == 1) break;
        if (page) slots -= page->count, page->next = list, list = page;
        else unit = 1;
    }
    return list;
}

/* --- mapping */
/* Maps the pages one behind the other; returns the slot after the last. What cannot be mapped is loose. */
static uint32_t map_all(struct pages *p, struct page *list, uint32_t at, struct page **mapped) {
    for (struct page *page; (page = list);) {
        list = page->next;
        if (!page_map(p, at, page)) {
            make_loose(p, page);
            continue;
        }
        page->home = at, page->next = *mapped, *mapped = page;
        at += page->count;
    }
    return at;
}

static void unmap_all(struct pages *p, struct page *list, uint32_t first, uint32_t end) {
    page_unmap(p, first, end - first);
    for (struct page *page; (page = list);) list = page->next, make_loose(p, page);
}

/* Opened to everybody who may reach it: who that is may change meanwhile. Leaves the lock taken when it succeeds. */
static bool open_and_lock(struct pages *p, uint32_t first, uint32_t end) {
    for (uint32_t opened_to;;) {
        opened_to = p->access_count;
        if (!page_open_access(p, first, end - first)) return false;
        lock_take(&p->lock);
        if (p->access_count == opened_to) return true;
        lock_release(&p->lock);
    }
}

/* Free memory from `first` to `end`. */
static bool publish(struct pages *p, struct page *mapped, uint32_t first, uint32_t end) {
    if (end == first) return false;
    bool opened = open_and_lock(p, first, end);
    bool added = opened && extents_add(&p->extents, (uint64_t)first * PAGE_GRANULES, (uint64_t)(end - first) * PAGE_GRANULES);
    for (struct page *page = added ? mapped : NULL; page; page = page->next)
        for (uint32_t i = 0; i < page->count; i++) p->space.page[page->home + i] = page;
    if (opened) lock_release(&p->lock);
    if (!added) unmap_all(p, mapped, first, end);
    return added;
}

static void give_slots(struct pages *p, uint32_t first, uint32_t count) {
    lock_take(&p->lock);
    if (count > 0) space_give(&p->space, first, count);
    lock_release(&p->lock);
}

/* What a plan has taken goes into its slots. */
static bool carry_out(struct pages *p, enum area area, struct haul *haul, struct page *loose, uint32_t create_slots, struct run to) {
    struct page *list = haul_unmap(p, haul), *mapped = NULL, **last = &list;
    while (*last) last = &(*last)->next;
    *last = loose;
    list = create(p, area, create_slots, list);
    uint32_t end = map_all(p, list, to.first, &mapped);
    bool gained = publish(p, mapped, to.first, end);
    if (!gained) end = to.first;
    give_slots(p, end, to.first + to.count - end);
    return gained;
}

bool pages_gather(struct pages *p, uint64_t asked, uint64_t most) {
    struct extent *tail;
    struct haul haul = { .runs = 0 };
    uint32_t got = 0, create_slots = 0;
    lock_take(&p->lock);
    enum area area = pages_area(asked);
    if (extents_fit(&p->extents, area, pages_granules(asked))) {
        lock_release(&p->lock);
        return true;
    }
    uint32_t need = slots_missing(p, asked, &tail);
    struct page *loose = take_loose(p, need, &got);
    if (got < need) haul_free(p, &haul, need - got, tail);
    got += haul.slots;
    if (got < need && haul.runs < RUNS) create_slots = need - got < most / PAGE_BYTES ? need - got : (uint32_t)(most / PAGE_BYTES);
    struct run to = { .count = got + create_slots };
    to.first = to.count > 0 ? space_take_in(&p->space, area_begin(p, area), area_end(p, area), &p->rover[area], to.count) : NO_SLOT;
    for (unsigned i = 0; i < haul.runs && to.first == NO_SLOT; i++) put_back(p, haul.run[i]);
    lock_release(&p->lock);
    if (to.first == NO_SLOT) {
        for (struct page *page; (page = loose);) loose = page->next, make_loose(p, page);
        return false;
    }
    bool mode = capture_relax();
    bool gained = carry_out(p, area, &haul, loose, create_slots, to);
    capture_unrelax(mode);
    return gained;
}

/* --- giving back */
static uint64_t release_all(struct pages *p, struct page *list) {
    uint64_t gone = 0;
    for (struct page *page, *next = list; (page = next);) {
        uint64_t bytes = page->count * PAGE_BYTES;
        next = page->next;
        if (page_release(p, page)) gone += bytes;
        else make_loose(p, page);
    }
    return gone;
}

static bool leaves_home(struct pages *p, struct page *page) {
    if (page->home == NO_SLOT) return true;
    if (!page_unmap(p, page->home, page->count)) return false;
    lock_take(&p->lock);
    leave_home(p, (struct run){ page->home, page->count }, NULL);
    lock_release(&p->lock);
    return true;
}

uint64_t pages_send_away(struct pages *p, struct page *list) {
    uint64_t gone = 0;
    for (struct page *page; (page = list);) {
        uint64_t bytes = page->count * PAGE_BYTES;
        list = page->next;
        if (leaves_home(p, page) && page_release(p, page)) {
            gone += bytes;
            continue;
        }
        lock_take(&p->lock);
        condemn(p, page);
        lock_release(&p->lock);
    }
    return gone;
}

/* The refusal may have been the moment's. */
static uint64_t release_condemned(struct pages *p) {
    lock_take(&p->lock);
    struct page *list = p->condemned;
    p->condemned = NULL;
    lock_release(&p->lock);
    return pages_send_away(p, list);
}

uint64_t pages_shrink(struct pages *p, uint64_t bytes) {
    bool mode = capture_relax();
    uint64_t gone = release_condemned(p), before = UINT64_MAX;
    while (gone < bytes && gone != before) {
        uint64_t left = (bytes - gone) / PAGE_BYTES + ((bytes - gone) % PAGE_BYTES > 0);
        uint32_t slots = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, got = 0;
        struct haul haul = { .runs = 0 };
        before = gone;
        lock_take(&p->lock);
        struct page *loose = take_loose(p, slots, &got);
        if (got < slots) haul_free(p, &haul, slots - got, NULL);
        lock_release(&p->lock);
        gone += release_all(p, loose) + release_all(p, haul_unmap(p, &haul));
    }
    capture_unrelax(mode);
    return gone;
}
