/* slab.h: memory that the program can read and not write.
 *
 * The *store* is one reservation of private anonymous memory, mapped PROT_READ. Contents lie in *blocks*: a word that says
 * whose the block is (an id of the table), then the bytes, aligned to 8. A *page* (4096 bytes) holds blocks of one
 * class; the *class* is how many fit in it, so there is no table of sizes and little is lost at its end. What
 * does not fit in a page has consecutive pages of its own. What is known of a page is kept outside it.
 *
 * To write, the pages of one block are made writable for the time of a copy (the *window*). A stray write of another
 * thread into those very pages in those microseconds is not caught; any other is SIGSEGV at once. Two mappings of one
 * memfd would need no window, but fork would leave parent and child writing into the same file: the memory being
 * private, a child's copy is its own by nature. A window costs two system calls (docs/INTERN.md has the figure); only
 * contents that were not there before pay for it.
 *
 * All but slab_at and slab_owner is called under the table's lock. Nothing here calls malloc. */
#ifndef COPPICE_INTERN_SLAB_H
#define COPPICE_INTERN_SLAB_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLAB_PAGE = 4096, SLAB_UNIT = 8, SLAB_LENGTH_MOST = 1 << 20 };

/* Where a block's bytes are: their distance from the store's base in units of 8. */
enum { SLAB_NO_ROOM = 0, SLAB_REFUSED = 1 /* the kernel said no; no block is here */ };

struct slab_store {
    const char *base;
    size_t length;
};
extern struct slab_store slab_store;

/* Reserves room for `contents` of 4 KiB on average, less where the address space is limited. False: none at all. */
bool slab_init(size_t contents);
/* A block with these bytes, whose owner is `id` (not 0). SLAB_NO_ROOM or SLAB_REFUSED when there is none. */
uint32_t slab_put(uint32_t id, const void *bytes, size_t length);
void slab_free(uint32_t where);
/* Bytes of the pages in use, and of what is known of them. */
size_t slab_held(void);

static inline const char *slab_at(uint32_t where) { return slab_store.base + (size_t)where * SLAB_UNIT; }
/* The word before bytes at `p`, 0 when it cannot be a block's. A pointer that is not the program's to give does no harm. */
static inline uint32_t slab_owner(const void *p) {
    size_t offset = (size_t)((uintptr_t)p - (uintptr_t)slab_store.base);
    if (offset >= slab_store.length || offset == 0 || offset % SLAB_UNIT != 0) return 0;
    return __atomic_load_n((const uint32_t *)p - 1, __ATOMIC_RELAXED);
}
#endif
