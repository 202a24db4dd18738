/* zone.h: where typed memory lies, so that a free of a small typed block asks nobody.
 *
 * The *zone* is one reservation, cut into *slices* of equal length, one for each type; the first segment (heap.h) of a type is its
 * slice. Beside it lies one byte for each page: the *bin* (typed.h) of the small blocks that begin there, which a free needs to keep
 * the block at hand and for which it would have to ask jemalloc.
 *
 * Why a byte is right: whoever gives a block out writes its page's byte, if it is not so already, and a slab of jemalloc has
 * blocks of one class; so as long as any block of a page lives, nobody writes another value. It is wrong only of pages
 * in which nothing lives. 0: ask jemalloc.
 *
 * Where there is no room for a zone (a limit on address space, locked memory) types have segments like any other, and every free asks. */
#ifndef COPPICE_HEAP_ZONE_H
#define COPPICE_HEAP_ZONE_H
#include "base/hints.h"
#include "coppice/coppice.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ZONE_SLICES = COPPICE_TYPES, /* without the untyped, with HEAP_LIVES */ ZONE_PAGE = 12 };
#define ZONE_NOWHERE ((uintptr_t)1 << 63)

struct heap_zone {
    uintptr_t base;          /* ZONE_NOWHERE: there is none */
    size_t length, pages;    /* all of it, and the pages of a slice that have bytes; both only shrink */
    unsigned shift;          /* a slice is 1 << shift bytes */
    _Atomic uint8_t *bin;    /* the bytes, by page, then slice */
};
extern struct heap_zone heap_zone __attribute__((visibility("hidden")));

/* Which byte is that of the page in which p begins? */
#define ZONE_NO_BYTE SIZE_MAX
static inline size_t heap_zone_byte(const void *p) {
    uintptr_t at = (uintptr_t)p - heap_zone.base;
    if (at >= heap_zone.length) return ZONE_NO_BYTE;
    size_t slice = at >> heap_zone.shift, page = (at - (slice << heap_zone.shift)) >> ZONE_PAGE;
    return likely(page < heap_zone.pages) ? page * ZONE_SLICES + slice : ZONE_NO_BYTE;
}
/* p is given out: its bin, or 0 for a block that is not small. */
static inline void heap_zone_note(const void *p, unsigned bin) {
    size_t byte = heap_zone_byte(p);
    if (byte == ZONE_NO_BYTE || atomic_load_explicit(&heap_zone.bin[byte], memory_order_relaxed) == bin) return;
    atomic_store_explicit(&heap_zone.bin[byte], (uint8_t)bin, memory_order_relaxed);
}

/* reserve.c, under its lock. The slice of a type for its first segment; false: there is none. `wanted`: what a segment would get. */
bool heap_zone_slice(unsigned type, size_t wanted, uintptr_t *base, size_t *length);
/* Slices end here now (an offset into a slice); the rest of the zone may be anybody's. */
void heap_zone_shrink(size_t longest);
#endif
