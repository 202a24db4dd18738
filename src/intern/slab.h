/* slab.h: memory that the program can read and not write, and the entries of what lies in it.
 *
 * The *store* is one reservation of private anonymous memory, mapped PROT_READ. A *page* (4096 bytes) holds *blocks* back to
 * back: one byte that says which of the page's *slots* is the block's, then the content. A content longer than 254 bytes has its
 * length before that byte, one with an unusual tag its tag. Contents are aligned to 8, encodings of parameters
 * (COPPICE_PARAMS_TAG) are not: they are bytes, and most of what there is. What does not fit in a page has consecutive pages of its own.
 * A slot is an entry (intern/entry.h), in memory of its own, which can be written; slots come in *groups* of sixteen, which a page
 * keeps for ever, so an *id* (page and slot) always names the same entry.
 *
 * To write, the pages of one block are made writable for the time of a copy (the *window*). A stray write of another
 * thread into those very pages in those microseconds is not caught; any other is SIGSEGV at once. Two mappings of one
 * memfd would need no window, but fork would leave parent and child writing into the same file: the memory being
 * private, a child's copy is its own by nature. A window costs two system calls (docs/INTERN.md has the figure); only
 * contents that were not there before pay for it.
 *
 * Functions that are not inline: under the table's lock. Nothing here calls malloc. */
#ifndef COPPICE_INTERN_SLAB_H
#define COPPICE_INTERN_SLAB_H
#include "intern/entry.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SLAB_PAGE = 4096, SLAB_GROUP = 16, SLAB_SLOTS = 256, SLAB_LENGTH_MOST = 1 << 20 };
enum { SLAB_NO_ROOM = 0, SLAB_REFUSED = 1 /* the kernel said no */ }; /* in the place of an id: no block is here */

struct slab_page {
    _Atomic uint32_t group[SLAB_SLOTS / SLAB_GROUP]; /* 0: none yet */
    uint16_t slots, live;   /* slots that there are, blocks */
    uint16_t top, free;     /* no block reaches above top; bytes in no block */
    uint16_t hole;          /* no hole is larger */
    uint16_t pages;         /* 0 a free page, 1 one of blocks; of a large content's first page, how many; LARGE_BODY its others */
    uint32_t next, previous; /* in the list of pages with holes of this size; 0 ends it */
};
struct slab_store {
    const char *base;
    size_t length;
    struct slab_page *page;  /* [1..pages_top); page[0] stays unused: small ids are none */
    struct entry (*group)[SLAB_GROUP];
    uint32_t pages_top, page_count;
};
extern struct slab_store slab_store;

/* Reserves room for `contents` of 4 KiB on average, less where the address space is limited. False: none at all. */
bool slab_init(size_t contents);
/* How many bits ids have. */
unsigned slab_id_bits(void);
/* A block with these bytes. Its id, and in `fields` what its entry is to come alive with; else SLAB_NO_ROOM or SLAB_REFUSED. `number` is
 * the number of the tag. */
uint32_t slab_put(const void *bytes, size_t length, uint32_t tag, unsigned number, uint64_t *fields);
/* The entry died; `w` was its word. */
void slab_free(uint32_t id, uint64_t w);
/* Bytes of the pages in use, and of what is known of them. */
size_t slab_held(void);
/* Is the page what its slots say? */
bool slab_page_is_valid(uint32_t page);

static inline struct entry *slab_slot(uint32_t page, unsigned slot) {
    return &slab_store.group[atomic_load_explicit(&slab_store.page[page].group[slot / SLAB_GROUP], memory_order_acquire)][slot % SLAB_GROUP];
}
static inline struct entry *slab_entry(uint32_t id) { return slab_slot(id / SLAB_SLOTS, id % SLAB_SLOTS); }
static inline const char *slab_at(uint32_t id, uint64_t w) { return slab_store.base + (size_t)(id / SLAB_SLOTS) * SLAB_PAGE + entry_offset(w); }

/* What stands before the slot's byte, for those who hold a reference: the length, before it the tag. */
static inline size_t slab_length(const char *at, uint64_t w) {
    uint32_t length = entry_length(w);
    if (unlikely(length == ENTRY_LONG)) memcpy(&length, at - 1 - sizeof length, sizeof length);
    return length;
}
static inline uint32_t slab_tag(const char *at, uint64_t w) {
    uint32_t tag;
    memcpy(&tag, at - 1 - (entry_length(w) == ENTRY_LONG ? 4 : 0) - sizeof tag, sizeof tag);
    return tag;
}
/* The id of the entry whose bytes are at `p`, 0: there is none. A pointer that is not the program's to give does no harm. */
static inline uint32_t slab_id_at(const void *p) {
    size_t offset = (size_t)((uintptr_t)p - (uintptr_t)slab_store.base);
    if (offset < SLAB_PAGE || offset >= slab_store.length || offset % SLAB_PAGE == 0) return 0;
    uint32_t id = (uint32_t)(offset / SLAB_PAGE) * SLAB_SLOTS + ((const unsigned char *)p)[-1];
    struct entry *e = slab_entry(id);
    uint64_t w = entry_word(e);
    return (w & ENTRY_DEAD) || e < slab_store.group[1] || entry_offset(w) != offset % SLAB_PAGE ? 0 : id;
}
#endif
