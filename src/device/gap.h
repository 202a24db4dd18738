/* gap.h: pages that several blocks share, and which of their bytes are free. Pure arithmetic: no CUDA call, no lock.
 *
 * A *granule* is 512 bytes, the alignment that programs see. A *share* is a page cut into *extents* of whole granules, each
 * taken or free; a free one is a *gap*. Two gaps never touch: they are one. Three uses:
 *   anywhere  a small block lies wholly in the share
 *   front     the last bytes of a large block: they begin where the page begins
 *   back      the first bytes of a large block: they end where the page ends
 * So a large block may begin in the back gap of one share, go over whole pages and end in the front gap of another: what it
 * leaves over of a page is another's. Gaps lie in bins by *edge* and by size; the smallest that fits is taken.
 *
 *     used + sum of gaps = GRANULES for every share; a share with used = lost is empty and leaves (gaps_remove)
 *
 * A *lost* extent stays taken for ever: its identity was exported. Everything here is under the lock of its owner. */
#ifndef COPPICE_DEVICE_GAP_H
#define COPPICE_DEVICE_GAP_H
#include <stdbool.h>
#include <stdint.h>

enum { GRANULE = 512, GRANULES = 4096, GAP_CLASSES = 160 };
enum gap_edge { GAP_MIDDLE, GAP_FRONT, GAP_BACK, GAP_EDGES }; /* a gap that is the whole page is at the front */

struct share {
    void *page;              /* the owner's */
    uint32_t number;         /* index in gaps.share; never changes */
    uint32_t used, lost;     /* granules taken; those of them that stay taken */
    uint16_t tag[GRANULES];  /* at the first and last granule of each extent: its length, and GAP_FREE */
    uint32_t next[GRANULES], previous[GRANULES]; /* at the first granule of a gap: the others of its bin */
};

/* Where an extent is or could be. `share` NULL: nowhere. */
struct extent { struct share *share; uint32_t at, length; };

struct gaps {
    struct share **share;    /* by number; sys_map'd, grows in place */
    uint32_t count, room;
    struct share *spare;
    uint32_t bin[GAP_EDGES][GAP_CLASSES]; /* first gap of the bin: number * GRANULES + first granule + 1; 0: none */
    uint64_t filled[GAP_EDGES][3];        /* bit set over bins */
    uint64_t free;                        /* granules in all gaps */
};

/* `most`: shares that there may ever be. False: no memory. */
bool gaps_open(struct gaps *g, uint32_t most);
/* A new share over `page`, all of it one gap; NULL: no memory. */
struct share *gaps_add(struct gaps *g, void *page);
/* An empty share leaves; it may be added again with another page. */
void gaps_remove(struct gaps *g, struct share *s);

/* No share is left. */
void gaps_clear(struct gaps *g);

/* The smallest gap that holds `length` granules at that edge; `anywhere`: at any. Nothing changes. */
struct extent gaps_find(struct gaps *g, enum gap_edge edge, uint32_t length);
struct extent gaps_find_anywhere(struct gaps *g, uint32_t length);
/* The largest gap at the edge, as a whole. */
struct extent gaps_largest(struct gaps *g, enum gap_edge edge);
/* Calls `each` for the gaps at that edge, larger ones first, at most a few dozen, until it returns false. */
void gaps_each(struct gaps *g, enum gap_edge edge, bool (*each)(struct extent gap, void *with), void *with);
/* Takes `length` granules of the gap: at its back end for what goes to the back of a page or lies in a front gap, so
 * that edges stay free for those who need them. `wanted`: GAP_MIDDLE where it does not matter. Returns the extent. */
struct extent gaps_take(struct gaps *g, struct extent gap, uint32_t length, enum gap_edge wanted);
/* The extent is free again. */
void gaps_give(struct gaps *g, struct extent e);
/* The extent stays taken for ever. */
static inline void gaps_lose(struct extent e) { e.share->lost += e.length; }
static inline bool share_is_empty(const struct share *s) { return s->used == s->lost; }
/* The taken extent that holds a granule; share NULL when it is free. */
struct extent gaps_extent_at(struct share *s, uint32_t granule);
/* All of the equations above; for debug builds and tests. */
bool gaps_are_valid(const struct gaps *g);
#endif
