/* typed.h: host memory that has a type (docs/TYPES.md).
 *
 * Each type has a jemalloc *arena* of its own, whose memory comes from segments of its own (heap.h), so the type of a pointer
 * follows from its address, and untyped memory, which lies in the first segment, pays nothing: its free is the one compare that it
 * was. A thread has a cache of its own for each type that it uses: jemalloc's usual one would mix them. Since jemalloc's way
 * to a cache of that kind is slow (twice malloc), the last few blocks of up to 8 KiB are kept at hand before it (*small*
 * blocks); they count as given back, by the corrections of kept.h.
 *
 *   episodic     cached by the thread; freed pages serve again for ten seconds
 *   procedural   the same
 *   semantic     cached; freed pages go back after half a second; huge pages, but not where pages are shared
 *   emotional    cached; freed pages are kept for ever, and new ones are there before they are touched; huge pages
 *
 * Where a type has no memory, or no arena can be made, the request is served as untyped: nothing here fails by itself. */
#ifndef COPPICE_HEAP_TYPED_H
#define COPPICE_HEAP_TYPED_H
#include "heap/thread.h"
#include "sites/site.h"

enum { TYPED_ZERO = 0x40 }; /* jemalloc's flags: zeroed; and lg(alignment) in the low six bits */

/* What an allocation by heap_thread.caller is; the last answer is remembered. */
static inline struct kind heap_kind(size_t size, enum site_api api) {
    struct heap_thread *t = &heap_thread;
    if (likely(t->last.caller == t->caller && size - t->last.least < t->last.end - t->last.least)) return t->last.kind;
    if (!t->bias) return kind_of(t->caller, size, api, SITES_HOST);
    t->last.kind = kind_of(t->caller, size, api, SITES_HOST);
    t->last.end = site_band_end(size, &t->last.least), t->last.caller = t->caller;
    return t->last.kind;
}
enum { SMALL_MOST = 8 << 10, SMALL_CLASSES = 33, SMALL_DEPTH = 15, SMALL_LARGER = 1 << 10, SMALL_FEW = 4 };
struct typed_small {
    struct typed_bin { uint64_t count; void *block[SMALL_DEPTH]; } bin[COPPICE_TYPES][SMALL_CLASSES];
};
/* jemalloc's size classes: 0 is its first (8 bytes), then one each 16 bytes up to 128, then four to a doubling. */
static inline unsigned small_class(size_t size) {
    if (size <= 128) return size <= 8 ? 0 : (unsigned)((size + 15) / 16);
    unsigned e = 63 - (unsigned)__builtin_clzl(size - 1);
    return 9 + (e - 7) * 4 + ((unsigned)((size - 1) >> (e - 2)) & 3);
}
static inline size_t small_bytes(unsigned class) {
    if (class <= 8) return class ? class * 16 : 8;
    return (size_t)(5 + (class - 9) % 4) << (5 + (class - 9) / 4);
}
/* A small block at hand, or NULL. */
static inline void *heap_typed_small(enum coppice_type type, size_t size) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(size > SMALL_MOST || !t->typed_small)) return NULL;
    unsigned class = small_class(size);
    struct typed_bin *bin = &t->typed_small->bin[type][class];
    if (unlikely(bin->count == 0)) return NULL;
    t->kept_taken += small_bytes(class);
    return bin->block[--bin->count];
}

/* Memory of a type (not COPPICE_UNTYPED); NULL: none. Counts for the site now and then. */
void *heap_typed_alloc(struct kind kind, size_t size, int flags);
/* `type` is what heap_lives_in said of p. */
void heap_typed_free(enum coppice_type type, void *p);
/* Keeps the type; NULL: p is as it was. */
void *heap_typed_realloc(enum coppice_type type, void *p, size_t size);
/* Blocks at hand go back. */
void heap_typed_flush(struct heap_thread *t);
/* The calling thread ends: its caches go back. */
void heap_typed_thread_end(struct heap_thread *t);
/* Is this the arena of memory that is kept for ever? */
bool heap_typed_keeps(unsigned arena);
/* Is there any? */
bool heap_typed_keeps_any(void);
void heap_typed_fork_child(void);
#endif
