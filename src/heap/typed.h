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
#include "heap/life.h"
#include "heap/thread.h"
#include "heap/zone.h"
#include "sites/site.h"

enum { TYPED_ZERO = 0x40 }; /* jemalloc's flags: zeroed; and lg(alignment) in the low six bits */

/* What an allocation by heap_thread.caller is, where the thread does not know it. Key/value cache has the type HEAP_LIVES from here on. */
struct kind heap_kind_slowly(struct known *k, size_t size, enum site_api api) COLD;
/* What an allocation by heap_thread.caller is; answers are remembered by caller. */
static inline struct kind heap_kind(size_t size, enum site_api api) {
    struct heap_thread *t = &heap_thread;
    const uintptr_t caller = (uintptr_t)t->caller;
    struct known *k = &t->known[(caller ^ caller >> 5) % KNOWN_CALLERS];
    return likely(k->caller == (caller ^ t->salt) && size - k->least < k->span) ? k->kind : heap_kind_slowly(k, size, api);
}
enum { SMALL_MOST = 8 << 10, SMALL_CLASSES = 33, SMALL_DEPTH = 15, SMALL_LARGER = 1 << 10, SMALL_FEW = 4 };
struct typed_small {
    struct typed_bin { uint16_t count, depth; uint32_t bytes; void *block[SMALL_DEPTH]; } bin[1 + HEAP_LIVES * SMALL_CLASSES]; /* those from TYPE_PARAMS on are always empty */
};
/* Where a type's blocks of a class are, in typed_small and as a page's byte (zone.h); bin 0 is always full and always empty. */
static inline unsigned small_bin(enum coppice_type type, unsigned class) { return (unsigned)(type - 1) * SMALL_CLASSES + class + 1; }
/* jemalloc's size classes: 0 is its first (8 bytes), then one each 16 bytes up to 128, then four to a doubling. The tables have the
 * class of each size, by steps of 8 bytes up to 1 KiB and of 128 from there on. */
extern const uint8_t small_class_below[129], small_class_above[65] __attribute__((visibility("hidden")));
static inline unsigned small_class(size_t size) { return likely(size <= 1024) ? small_class_below[(size + 7) / 8] : small_class_above[(size + 127) / 128]; }

size_t small_bytes(unsigned class);

/* A small block at hand, or NULL. */
static inline void *heap_typed_small(enum coppice_type type, size_t size) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(size > SMALL_MOST || !t->typed_small)) return NULL;
    struct typed_bin *bin = &t->typed_small->bin[small_bin(type, small_class(size))];
    if (unlikely(bin->count == 0)) return NULL;
    t->kept_taken += bin->bytes;
    return bin->block[--bin->count];
}
/* Keeps a freed block of that bin at hand; false: there is no room. */
static inline bool heap_typed_keep(struct heap_thread *t, unsigned at, void *p) {
    struct typed_bin *bin = &t->typed_small->bin[at];
    if (unlikely(bin->count >= bin->depth)) return false;
    bin->block[bin->count++] = p;
    t->kept_given += bin->bytes;
    return true;
}
/* The whole of a free, for a small typed block in a thread that has credit; false: nothing was done. */
static inline bool heap_typed_free_small(void *p) {
    struct heap_thread *t = &heap_thread;
    size_t byte = heap_zone_byte(p);
    if (byte == ZONE_NO_BYTE || unlikely(t->gives <= 0 || !t->typed_small)) return false;
    if (!heap_typed_keep(t, atomic_load_explicit(&heap_zone.bin[byte], memory_order_relaxed), p)) return false;
    t->gives--;
    return true;
}

/* Memory of a type (not COPPICE_UNTYPED), a parameter struct (structs.h), or key/value cache (life.h); NULL: none. */
void *heap_typed_alloc(struct kind kind, size_t size, int flags);
/* The same, and untyped requests too (then NULL is for the caller to serve), when until_sample has come to its end: counts for the
 * site, and one in SAMPLE_LIVES is a block whose life is observed (life.h). */
enum { SAMPLE = 16, SAMPLE_LIVES = 4, SAMPLE_LARGE = 8 /* a large request counts as so many */ };
void *heap_sampled(struct kind kind, size_t size, int flags) COLD;
/* `type` is what heap_lives_in said of p. */
void heap_typed_free(enum coppice_type type, void *p);
/* Keeps the type; NULL: p is as it was. */
void *heap_typed_realloc(enum coppice_type type, void *p, size_t size);
/* Of any block of the heap, whatever its type. */
size_t heap_usable_size(const void *p);
/* Blocks at hand go back. */
void heap_typed_flush(struct heap_thread *t);
/* The calling thread ends: its caches go back. */
void heap_typed_thread_end(struct heap_thread *t);
/* Bytes of a type that its arena has handed out, to the program and to threads' caches. After jemalloc's epoch. */
uint64_t heap_typed_handed_out(enum coppice_type type);
/* Is this the arena of memory that is kept for ever? */
bool heap_typed_keeps(unsigned arena);
/* Is there any? */
bool heap_typed_keeps_any(void);
void heap_typed_fork_child(void);
#endif
