/* slab.c: pages, holes and windows; see slab.h.
 * A page: free -> of blocks -> free; or free -> large -> free. Pages of blocks that have a hole are in the list of its size (by powers of
 * two). What is known of holes is an upper bound: a page that was looked at in vain is listed under what it really has. A page that
 * becomes free goes back to the system. */
#include "intern/slab.h"
#include "base/sys.h"
#include "coppice/coppice.h"
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE_BODY = UINT16_MAX, BINS = 13, TRIES = 8, LEAST_HOLE = 8 };

struct slab_store slab_store;
static uint32_t groups_top = 1, groups_most;
static uint32_t lowest_free = 1; /* no page below it is free */
static uint32_t pages_in_use;
static uint32_t with_hole[BINS];
static size_t system_page;

#define page_at(n) (&slab_store.page[n])

/* --- the store */

static void give_up(size_t length) {
    if (slab_store.base) sys_unmap((void *)slab_store.base, length);
    if (slab_store.page) sys_unmap(slab_store.page, length / SLAB_PAGE * sizeof *slab_store.page);
    slab_store = (struct slab_store){ 0 };
}

static bool reserve(size_t length) {
    slab_store.page_count = (uint32_t)(length / SLAB_PAGE);
    groups_most = slab_store.page_count * (SLAB_SLOTS / SLAB_GROUP) + 1;
    slab_store.base = sys_map(NULL, length, PROT_READ);
    slab_store.page = sys_map(NULL, slab_store.page_count * sizeof *slab_store.page, PROT_READ | PROT_WRITE);
    slab_store.group = sys_map(NULL, groups_most * sizeof *slab_store.group, PROT_READ | PROT_WRITE);
    if (slab_store.base && slab_store.page && slab_store.group) return true;
    give_up(length);
    return false;
}

bool slab_init(size_t contents) {
    const size_t least = 4 << 20, most = (size_t)1 << 30;
    size_t length = contents < most / SLAB_PAGE ? contents * SLAB_PAGE : most;
    if (length < least) length = least;
    while (!reserve(length)) {
        if (length == least) return false;
        length = length / 2 > least ? length / 2 / SLAB_PAGE * SLAB_PAGE : least;
    }
    slab_store.pages_top = 1;
    system_page = (size_t)sysconf(_SC_PAGESIZE);
    slab_store.length = length;
    return true;
}

unsigned slab_id_bits(void) { return 32 - (unsigned)__builtin_clz(slab_store.page_count * SLAB_SLOTS - 1); }

size_t slab_held(void) {
    return (size_t)pages_in_use * SLAB_PAGE + slab_store.pages_top * sizeof(struct slab_page) + (groups_top - 1) * sizeof *slab_store.group;
}

/* --- pages */

/* The first of `count` consecutive free pages; 0: there are none. */
static uint32_t take_pages(uint32_t count) {
    uint32_t run = 0, n = lowest_free;
    for (; run < count; n++) {
        if (n >= slab_store.page_count) return 0;
        run = n >= slab_store.pages_top || page_at(n)->pages == 0 ? run + 1 : 0;
    }
    uint32_t first = n - count;
    if (n > slab_store.pages_top) slab_store.pages_top = n;
    for (uint32_t i = first; i < n; i++) page_at(i)->pages = LARGE_BODY;
    page_at(first)->pages = (uint16_t)count;
    while (lowest_free < slab_store.pages_top && page_at(lowest_free)->pages) lowest_free++;
    pages_in_use += count;
    return first;
}

static void free_pages(uint32_t first) {
    uint32_t count = page_at(first)->pages;
    for (uint32_t i = first; i < first + count; i++) page_at(i)->pages = 0;
    if (first < lowest_free) lowest_free = first;
    pages_in_use -= count;
    if (system_page == SLAB_PAGE) sys_advise((void *)(slab_store.base + (size_t)first * SLAB_PAGE), (size_t)count * SLAB_PAGE, MADV_DONTNEED);
}

/* --- lists of pages with holes */

static unsigned bin_of(unsigned hole) { return 31 - (unsigned)__builtin_clz(hole); }

static void list_add(uint32_t n) {
    struct slab_page *p = page_at(n);
    if (p->hole < LEAST_HOLE) return;
    uint32_t *first = &with_hole[bin_of(p->hole)];
    p->previous = 0, p->next = *first;
    if (*first) page_at(*first)->previous = n;
    *first = n;
}

static void list_remove(uint32_t n) {
    struct slab_page *p = page_at(n);
    if (p->hole < LEAST_HOLE) return;
    if (p->previous) page_at(p->previous)->next = p->next;
    else with_hole[bin_of(p->hole)] = p->next;
    if (p->next) page_at(p->next)->previous = p->previous;
}

static void set_hole(uint32_t n, unsigned hole) {
    list_remove(n);
    page_at(n)->hole = (uint16_t)hole;
    list_add(n);
}

/* --- blocks in a page */

struct wish {
    size_t length;
    unsigned before, alignment; /* bytes before the content */
};

/* Where the content of a block from `start` on would be; beyond the page when it has no place. */
static size_t content_at(const struct wish *w, size_t start) {
    size_t at = (start + w->before + w->alignment - 1) & ~(size_t)(w->alignment - 1);
    return at < SLAB_PAGE ? at : SLAB_PAGE + 1;
}

static unsigned before_content(uint64_t fields) { return 1 + (entry_length(fields) == ENTRY_LONG ? 4 : 0) + (entry_tag(fields) == ENTRY_TAGS ? 4 : 0); }

/* Marks the bytes of all blocks. */
static void map_blocks(uint32_t n, unsigned char taken[SLAB_PAGE]) {
    memset(taken, 0, SLAB_PAGE);
    for (unsigned slot = 0; slot < page_at(n)->slots; slot++) {
        uint64_t w = entry_word(slab_slot(n, slot));
        if (w & ENTRY_DEAD) continue;
        unsigned before = before_content(w), at = entry_offset(w);
        memset(taken + at - before, 1, before + slab_length(slab_store.base + (size_t)n * SLAB_PAGE + at, w));
    }
}

/* Where the content goes in the first hole that is large enough; 0: none, and the page is listed under the largest that it has. */
static size_t find_hole(uint32_t n, const struct wish *w) {
    unsigned char taken[SLAB_PAGE];
    size_t largest = 0;
    map_blocks(n, taken);
    for (size_t from = 0, to; from < SLAB_PAGE; from = to) {
        const unsigned char *end = memchr(taken + from, !taken[from], SLAB_PAGE - from);
        to = end ? (size_t)(end - taken) : SLAB_PAGE;
        if (taken[from]) continue;
        if (content_at(w, from) + w->length <= to) return content_at(w, from);
        if (to - from > largest) largest = to - from;
    }
    set_hole(n, (unsigned)largest);
    return 0;
}

static size_t find_place(uint32_t n, const struct wish *w) {
    size_t at = content_at(w, page_at(n)->top);
    return at + w->length <= SLAB_PAGE ? at : find_hole(n, w);
}

/* A dead slot; SLAB_SLOTS: all are alive. */
static unsigned free_slot(uint32_t n) {
    struct slab_page *p = page_at(n);
    for (unsigned slot = 0; p->live < p->slots && slot < p->slots; slot++)
        if (entry_word(slab_slot(n, slot)) & ENTRY_DEAD) return slot;
    if (p->slots == SLAB_SLOTS || groups_top == groups_most) return SLAB_SLOTS;
    for (unsigned i = 0; i < SLAB_GROUP; i++) atomic_store_explicit(&slab_store.group[groups_top][i].word, ENTRY_DEAD, memory_order_relaxed);
    atomic_store_explicit(&p->group[p->slots / SLAB_GROUP], groups_top++, memory_order_release);
    p->slots += SLAB_GROUP;
    return p->slots - SLAB_GROUP;
}

/* A page that has a place for this, and the place; 0: none was found. */
static uint32_t page_with_place(const struct wish *w, size_t *at) {
    unsigned need = w->before + (unsigned)w->length;
    for (unsigned bin = bin_of(need < LEAST_HOLE ? LEAST_HOLE : need); bin < BINS; bin++)
        for (uint32_t n = with_hole[bin], next, tries = 0; n && tries < TRIES; n = next, tries++) {
            next = page_at(n)->next;
            if (page_at(n)->hole < need) continue;
            if (free_slot(n) == SLAB_SLOTS) set_hole(n, 0);
            else if ((*at = find_place(n, w)) != 0) return n;
        }
    return 0;
}

/* A page with a place in it. */
static uint32_t take_place(const struct wish *w, size_t *at) {
    uint32_t n = 0;
    bool large = content_at(w, 0) + w->length > SLAB_PAGE;
    if (!large && (n = page_with_place(w, at)) != 0) return n;
    *at = content_at(w, 0);
    n = take_pages(large ? (uint32_t)((*at + w->length + SLAB_PAGE - 1) / SLAB_PAGE) : 1);
    if (!n) return 0;
    struct slab_page *p = page_at(n);
    p->live = p->top = 0, p->hole = 0;
    p->free = large ? 0 : SLAB_PAGE;
    if (free_slot(n) != SLAB_SLOTS) return n;
    free_pages(n);
    return 0;
}

static void note_taken(uint32_t n, const struct wish *w, size_t at) {
    struct slab_page *p = page_at(n);
    p->live++;
    if (p->pages > 1) return;
    if (at + w->length > p->top) p->top = (uint16_t)(at + w->length);
    p->free -= (uint16_t)(w->before + w->length);
    set_hole(n, p->free < p->hole || p->live == 1 ? p->free : p->hole);
}

void slab_free(uint32_t id, uint64_t w) {
    uint32_t n = id / SLAB_SLOTS;
    struct slab_page *p = page_at(n);
    invariant(p->pages != 0 && p->pages != LARGE_BODY && p->live > 0);
    p->live--;
    if (p->pages == 1) {
        p->free += (uint16_t)(before_content(w) + slab_length(slab_at(id, w), w));
        set_hole(n, p->live ? p->free : 0);
    }
    if (p->live == 0) free_pages(n);
}

bool slab_page_is_valid(uint32_t n) {
    struct slab_page *p = page_at(n);
    unsigned live = 0;
    size_t bytes = 0;
    for (unsigned slot = 0; slot < p->slots; slot++) {
        uint64_t w = entry_word(slab_slot(n, slot));
        if (w & ENTRY_DEAD) continue;
        const char *at = slab_store.base + (size_t)n * SLAB_PAGE + entry_offset(w);
        if (slab_id_at(at) != n * SLAB_SLOTS + slot) return false;
        live++, bytes += before_content(w) + slab_length(at, w);
    }
    if (p->pages == 0 || p->pages == LARGE_BODY) return live == 0;
    unsigned char taken[SLAB_PAGE];
    size_t marked = 0;
    if (p->pages == 1) map_blocks(n, taken);
    for (size_t i = 0; p->pages == 1 && i < SLAB_PAGE; i++) marked += taken[i];
    return live == p->live && (p->pages > 1 || (marked == bytes && bytes + p->free == SLAB_PAGE));
}

/* --- windows */

/* Writes what stands before the content, and the content. */
static void write_block(char *at, unsigned slot, const void *bytes, size_t length, uint32_t tag, uint64_t fields) {
    char *p = at;
    uint32_t long_length = (uint32_t)length;
    *--p = (char)slot;
    if (entry_length(fields) == ENTRY_LONG) memcpy(p -= 4, &long_length, 4);
    if (entry_tag(fields) == ENTRY_TAGS) memcpy(p -= 4, &tag, 4);
    memcpy(at, bytes, length);
}

uint32_t slab_put(const void *bytes, size_t length, uint32_t tag, unsigned number, uint64_t *fields) {
    *fields = entry_kind(length < ENTRY_LONG ? (unsigned)length : ENTRY_LONG, number);
    struct wish w = { length, before_content(*fields), tag == COPPICE_PARAMS_TAG ? 1 : 8 };
    size_t offset;
    uint32_t n = take_place(&w, &offset);
    if (!n) return SLAB_NO_ROOM;
    unsigned slot = free_slot(n);
    char *at = (char *)slab_store.base + (size_t)n * SLAB_PAGE + offset;
    char *window = (char *)((uintptr_t)(at - w.before) & ~(uintptr_t)(system_page - 1));
    size_t span = (size_t)(at + (length ? length : 1) - window);
    if (sys_protect(window, span, PROT_READ | PROT_WRITE) < 0) {
        if (page_at(n)->live == 0) free_pages(n);
        return SLAB_REFUSED;
    }
    write_block(at, slot, bytes, length, tag, *fields);
    sys_protect(window, span, PROT_READ); /* joins what the first call split: needs no memory, cannot fail */
    note_taken(n, &w, offset);
    *fields |= (uint64_t)offset << ENTRY_OFFSET_AT;
    return n * SLAB_SLOTS + slot;
}
