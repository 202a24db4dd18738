/* structs.h: parameter structs of unmodified programs: small blocks of which a rule says `params` (docs/TYPES.md).
 *
 * A *pool* is one site and one size. It has *slabs* of its own, 64 KiB that hold nothing but its blocks, so what one line of a program
 * allocates lies together, a freed block serves the next request from there, and the content of what is live can be compared block by
 * block (intern/observe.h). A block is served from the lowest place that was freed, then from a fresh one. A slab that becomes empty is
 * given back to the system unless it is the only one of its pool with room. One lock guards all pools: parameter sets come with requests,
 * not with tokens. Larger blocks, and those for which there is no pool left, are untyped. A program's contents are never shared here: a
 * block is smaller than a page (docs/INTERN.md). */
#ifndef COPPICE_HEAP_STRUCTS_H
#define COPPICE_HEAP_STRUCTS_H
#include "sites/site.h"

enum { STRUCTS_MOST = 1024, STRUCTS_SLAB = 64 << 10, STRUCTS_WORDS = STRUCTS_SLAB / 16 / 64 };

/* A block of that site's pool; flags as heap_typed_alloc's. NULL: too large, aligned to more than 16, or no room. */
void *structs_alloc(struct kind kind, size_t size, int flags);
void structs_free(void *p);
size_t structs_usable(const void *p);
/* Memory of slabs that hold something. */
size_t structs_held(void);

/* A slab as it is now, for whoever wants to look at its blocks. */
struct structs_view {
    unsigned pool;            /* counters->params[pool] */
    uintptr_t first;          /* of its blocks */
    uint32_t size, stride;    /* of a block: asked for, and with what lies up to the next */
    uint32_t places;
    uint64_t live[STRUCTS_WORDS];
};
/* The slab that was made before `slab` (NULL: the latest); NULL: there is none. Slabs never go away. */
const void *structs_slab(const void *slab, struct structs_view *view);

void structs_fork_prepare(void);
void structs_fork_done(void);
#endif
