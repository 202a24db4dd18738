/* extent.h: which bytes of mapped device memory are free. Pure arithmetic: no CUDA call, no lock.
 *
 * A *granule* is 512 bytes, the alignment that programs see; positions and lengths are in granules from the beginning of the
 * address space. *Extents* tile what is mapped: each is *taken* (one block), *free*, or *lost* (its identity was exported: it
 * never serves again). Two free extents that touch are one. Small blocks and large ones lie in two *areas* below and above
 * `border`, so that a small block that lives long does not stand in the middle of what a large one needs; the owner says in which
 * a block lies.
 *
 *     sum of all extents = granules that are mapped
 *
 * Free extents lie in bins by length; a request gets the smallest that fits among those that are looked at, of equals the one
 * with the lowest address. In it the block lies where it breaks the fewest *whole pages* (that are free all through), and of such
 * places where it touches the fewest: a whole page can be moved to where it is wanted (gather.c); what is free in one page
 * with a live block serves only what fits there. Everything here is under the lock of its owner. */
#ifndef COPPICE_DEVICE_EXTENT_H
#define COPPICE_DEVICE_EXTENT_H
#include <stdbool.h>
#include <stdint.h>

enum { GRANULE = 512, PAGE_GRANULES = (2 << 20) / GRANULE, EXTENT_BINS = 256 };
enum { EXTENT_PART = 128 /* granules for one entry of the index by address */ };
enum area { AREA_SMALL, AREA_LARGE, AREAS };
enum extent_state { EXTENT_TAKEN, EXTENT_FREE, EXTENT_LOST };

struct extent {
    uint64_t at, length;
    struct extent *left, *right;     /* by address, over all extents */
    struct extent *next, *previous;  /* FREE: others of its bin; spare ones: next */
    enum extent_state state;
};

struct stretch { uint64_t from, to; };

struct extents {
    struct extent **part;            /* by position / EXTENT_PART: the first extent that begins there, */
    uint64_t *begins;                /* and a bit set over them */
    uint64_t end, border;            /* granules of the address space; where AREA_LARGE begins */
    struct extent *bin[AREAS][EXTENT_BINS], *spare;
    uint64_t filled[AREAS][EXTENT_BINS / 64]; /* bit set over bins */
    uint64_t free, lost;             /* granules */
    /* the page around a position; NULL, and where the owner does not change it: 2 MiB, aligned */
    struct stretch (*page_around)(const struct extents *x, uint64_t at);
};

/* False: no memory. */
bool extents_open(struct extents *x, uint64_t end, uint64_t border);
/* Memory is there now: free. False: no memory for descriptors, nothing has changed. */
bool extents_add(struct extents *x, uint64_t at, uint64_t length);
/* Free or lost memory leaves. False: some of it is taken, or there is no memory for descriptors; nothing has changed. */
bool extents_remove(struct extents *x, uint64_t at, uint64_t length);
/* Nothing is mapped any more. */
void extents_clear(struct extents *x);

/* Would a request find room? */
bool extents_fit(const struct extents *x, enum area area, uint64_t length);
/* A taken extent of `length` granules (more, where no descriptor for the rest can be had), or NULL. */
struct extent *extents_take(struct extents *x, enum area area, uint64_t length);
/* A taken one is free again, or lost. */
void extents_give(struct extents *x, struct extent *e);
void extents_lose(struct extents *x, struct extent *e);

/* The extent around a position; NULL: nothing is mapped there. */
struct extent *extents_at(const struct extents *x, uint64_t at);
/* Is nothing in the range taken? Is something of it lost? */
bool extents_are_idle(const struct extents *x, uint64_t at, uint64_t length);
bool extents_any_lost(const struct extents *x, uint64_t at, uint64_t length);
/* Granules that are nobody's in pages with something that is: taken extents that `in_use` says are, and lost ones. */
uint64_t extents_stranded(const struct extents *x, bool (*in_use)(const struct extent *e, void *with), void *with);
/* Calls `each` for free extents of at least `least` granules, of the longer bins first, until it returns true. Returns
 * whether one did. `each` changes nothing. */
bool extents_find(const struct extents *x, enum area area, uint64_t least, bool (*each)(const struct extent *e, void *with), void *with);
/* All of the equations above; for debug builds and tests. */
bool extents_are_valid(const struct extents *x);
#endif
