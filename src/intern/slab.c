/* slab.c: pages, classes and windows; see slab.h.
 * State of a page: free -> of a class (with room -> full -> with room) -> free; or free -> large -> free. Pages of a class
 * that have room are in the class's list. A page that becomes free goes back to the system. */
#include "intern/slab.h"
#include "base/hints.h"
#include "base/sys.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bytes begin 8 after their page's start at least: blocks begin 4 after it, so that what follows the owner is aligned. */
enum { HEAD = 4, ROOM = SLAB_PAGE - HEAD, BLOCK_LEAST = 16, SLOTS_MOST = ROOM / BLOCK_LEAST, LARGE = SLOTS_MOST + 1 };

struct page {
    uint64_t taken[(SLOTS_MOST + 63) / 64]; /* a bit a block */
    uint16_t class;                         /* 0 free, 1..SLOTS_MOST blocks, LARGE */
    uint16_t used;                          /* blocks taken; of a large one's first page: its pages, 0 in the others */
    uint32_t next, previous;                /* in the class's list of pages with room; 0 ends it */
};

struct slab_store slab_store;
static struct page *pages;                 /* pages[0] stays unused: where = 0 is no block */
static uint32_t page_count, pages_top = 1; /* pages[pages_top..] were never used */
static uint32_t lowest_free = 1;           /* no page below it is free */
static uint32_t pages_in_use;
static uint32_t with_room[SLOTS_MOST + 1];
static size_t system_page;

bool slab_init(size_t contents) {
    const size_t least = 4 << 20, most = (size_t)1 << 30;
    size_t length = contents < most / SLAB_PAGE ? contents * SLAB_PAGE : most;
    if (length < least) length = least;
    void *base;
    while ((base = sys_map(NULL, length, PROT_READ)) == NULL && length > least) length = length / 2 > least ? length / 2 : least;
    if (!base) return false;
    page_count = (uint32_t)(length / SLAB_PAGE);
    pages = sys_map(NULL, page_count * sizeof *pages, PROT_READ | PROT_WRITE);
    if (!pages) {
        sys_unmap(base, length);
        return false;
    }
    system_page = (size_t)sysconf(_SC_PAGESIZE);
    slab_store = (struct slab_store){ .base = base, .length = length };
    return true;
}

size_t slab_held(void) { return (size_t)pages_in_use * SLAB_PAGE + pages_top * sizeof *pages; }

/* --- classes */

static size_t block_size(unsigned class) { return (size_t)(ROOM / class) & ~(size_t)7; }

static unsigned class_for(size_t length) {
    size_t size = (length + HEAD + 7) & ~(size_t)7;
    return (unsigned)(ROOM / (size < BLOCK_LEAST ? BLOCK_LEAST : size));
}

static void list_add(unsigned class, uint32_t n) {
    pages[n].previous = 0, pages[n].next = with_room[class];
    if (with_room[class]) pages[with_room[class]].previous = n;
    with_room[class] = n;
}

static void list_remove(unsigned class, uint32_t n) {
    if (pages[n].previous) pages[pages[n].previous].next = pages[n].next;
    else with_room[class] = pages[n].next;
    if (pages[n].next) pages[pages[n].next].previous = pages[n].previous;
}

/* --- pages */

/* The first of `count` consecutive free pages, now of `class`; 0: there are none. */
static uint32_t take_pages(uint32_t count, unsigned class) {
    uint32_t run = 0, n = lowest_free;
    for (; run < count; n++) {
        if (n >= page_count) return 0;
        run = n >= pages_top || pages[n].class == 0 ? run + 1 : 0;
    }
    uint32_t first = n - count;
    for (uint32_t i = first; i < n; i++) pages[i] = (struct page){ .class = (uint16_t)class };
    if (n > pages_top) pages_top = n;
    while (lowest_free < pages_top && pages[lowest_free].class) lowest_free++;
    pages_in_use += count;
    return first;
}

static void free_pages(uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++) pages[i].class = 0;
    if (first < lowest_free) lowest_free = first;
    pages_in_use -= count;
    if (system_page == SLAB_PAGE) sys_advise((void *)(slab_store.base + (size_t)first * SLAB_PAGE), (size_t)count * SLAB_PAGE, MADV_DONTNEED);
}

/* --- blocks: the distance of a block's bytes from the base, 0 when there is no room */

static size_t take_large(size_t length) {
    uint32_t count = (uint32_t)((length + 2 * HEAD + SLAB_PAGE - 1) / SLAB_PAGE);
    uint32_t first = take_pages(count, LARGE);
    if (first) pages[first].used = (uint16_t)count;
    return (size_t)first * SLAB_PAGE + (first ? 2 * HEAD : 0);
}

static size_t take_block(size_t length) {
    unsigned class = class_for(length), slot = 0;
    if (class == 0) return take_large(length);
    uint32_t n = with_room[class];
    if (!n) {
        if (!(n = take_pages(1, class))) return 0;
        list_add(class, n);
    }
    struct page *page = &pages[n];
    while (page->taken[slot / 64] == UINT64_MAX) slot += 64;
    slot += (unsigned)__builtin_ctzll(~page->taken[slot / 64]);
    invariant(slot < class);
    page->taken[slot / 64] |= (uint64_t)1 << slot % 64;
    if (++page->used == class) list_remove(class, n);
    return (size_t)n * SLAB_PAGE + slot * block_size(class) + 2 * HEAD;
}

void slab_free(uint32_t where) {
    size_t offset = (size_t)where * SLAB_UNIT;
    uint32_t n = (uint32_t)(offset / SLAB_PAGE);
    struct page *page = &pages[n];
    unsigned class = page->class;
    invariant(class != 0);
    if (class == LARGE) {
        free_pages(n, page->used);
        return;
    }
    unsigned slot = (unsigned)((offset % SLAB_PAGE - 2 * HEAD) / block_size(class));
    invariant(page->taken[slot / 64] >> slot % 64 & 1);
    page->taken[slot / 64] &= ~((uint64_t)1 << slot % 64);
    if (page->used-- == class) list_add(class, n);
    if (page->used > 0) return;
    list_remove(class, n);
    free_pages(n, 1);
}

/* --- windows */

uint32_t slab_put(uint32_t id, const void *bytes, size_t length) {
    size_t offset = take_block(length);
    if (!offset) return SLAB_NO_ROOM;
    char *block = (char *)slab_store.base + offset - HEAD;
    char *window = (char *)((uintptr_t)block & ~(uintptr_t)(system_page - 1));
    size_t span = (size_t)(block + HEAD + length - window);
    if (sys_protect(window, span, PROT_READ | PROT_WRITE) < 0) {
        slab_free((uint32_t)(offset / SLAB_UNIT));
        return SLAB_REFUSED;
    }
    __atomic_store_n((uint32_t *)block, id, __ATOMIC_RELAXED);
    memcpy(block + HEAD, bytes, length);
    sys_protect(window, span, PROT_READ); /* joins what the first call split: needs no memory, cannot fail */
    return (uint32_t)(offset / SLAB_UNIT);
}
