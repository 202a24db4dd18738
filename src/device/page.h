/* page.h: device memory in pages: physical memory that is mapped where it is wanted.
 *
 * A *page* is one physical handle (cuMemCreate) of 2 MiB, or of a few times that where there are thousands of them. It is
 * mapped at its *home*, a run of slots (space.h), as long as it exists; what lies in the mapped memory is a matter of arithmetic
 * (extent.h). So a request that finds room, and a free, cost no call of the driver. Where no free extent is long enough, new
 * memory is mapped behind the last extent, so much that the two together are: free pages are *moved* there, out of
 * free extents too short for the request, and only what is missing then is taken from the driver.
 *
 *     count * 2 MiB = what the context has taken from the driver for pages
 *                   = blocks (live and cached) + free extents + lost extents + loose and condemned pages + pages being moved
 *
 * A page is *loose* when the driver refused to map it or to take it back: it is tried again. It is *condemned* when something in it was
 * lost and the driver did not unmap it or take it back: it never serves again, and is offered to the driver whenever pages go back. One
 * `struct pages` a context, under its lock; calls of the driver are made outside of it. Unmapping is not ordered with streams: memory is
 * free (pages_give) only when the epoch of its block has passed. */
#ifndef COPPICE_DEVICE_PAGE_H
#define COPPICE_DEVICE_PAGE_H
#include "base/lock.h"
#include "device/context.h"
#include "device/extent.h"
#include "device/space.h"

enum { PAGE_ACCESS = 32 };
#define NO_SLOT UINT32_MAX

struct page {
    CUmemGenericAllocationHandle handle;
    struct page *next;    /* of a list: loose, condemned, being moved, spare */
    uint32_t home, count; /* first slot, NO_SLOT while it is nowhere; slots */
    /* pages of weights (weights.h), one slot each, NO_SLOT: slots that have it mapped; it is another process's, or has been shown to one;
     * kernels only read */
    uint32_t users;
    bool borrowed, exported, read_only;
};

struct pages {
    struct lock lock;
    struct context *context;
    struct space space;
    struct extents extents;
    uint32_t border, rover[AREAS]; /* slot where the area of large blocks begins; where memory is mapped next */
    uint32_t count;                /* slots of all pages */
    struct page *spare, *loose, *condemned;
    CUmemAllocationProp property;
    CUmemAccessDesc access[PAGE_ACCESS]; /* the context's device, then those that may reach it as peers */
    uint32_t access_count;
    struct weights *weights; /* weights.h; NULL: there are none */
    bool weights_declined;
};

/* The pages of a context, made at the first call; NULL: it has none, blocks come whole from the driver (DEVICE_BACKEND=block,
 * or the device cannot: that is said once). */
struct pages *pages_of(struct context *c);
static inline bool pages_hold(const struct pages *p, uint64_t address) { return p && space_holds(&p->space, address); }

/* Memory for a block of `asked` bytes, in whole granules. False: no free extent is long enough. No call of the driver. */
struct stitched { uint64_t address, size; };
bool pages_take(struct pages *p, uint64_t asked, struct stitched *got);
bool pages_fit(struct pages *p, uint64_t asked);
/* The same in the other area, for a block of at most half a page while there are few: one more, for the last block of an area, is much. False
 * also where the driver need not be asked for a page. */
bool pages_take_elsewhere(struct pages *p, uint64_t asked, struct stitched *got);
/* The block's memory is free again. `lost`: its identity was exported, so it never serves again; a page goes back to the driver
 * as soon as nothing else lies in it. */
void pages_give(struct pages *p, uint64_t address, uint64_t size, bool lost);
/* Bytes that the driver would be asked for so that a request of `asked` bytes finds room. */
uint64_t pages_missing(struct pages *p, uint64_t asked);
/* Moves free pages for it and takes at most `most` bytes from the driver. False: nothing was gained. */
bool pages_gather(struct pages *p, uint64_t asked, uint64_t most);
/* Gives free pages back to the driver until `bytes` have gone; returns the bytes. */
uint64_t pages_shrink(struct pages *p, uint64_t bytes);
/* Bytes that are free, cached or lost in pages with a live block: they serve requests that fit there, and are nobody else's to have. */
uint64_t pages_stranded(struct pages *p);
/* Where the block around `address` begins; 0: no block is there. */
uint64_t pages_base(struct pages *p, uint64_t address);
/* The context's memory is no more: everything is unmapped and given back. */
void pages_drop(struct pages *p);
/* `device` may reach this memory from now on (peer access). */
void pages_admit(struct pages *p, CUdevice device);

/* For gather.c: single calls of the driver, for runs of slots; a page that has left its home goes back to the driver, or is loose;
 * a descriptor, under the lock, NULL: no memory. */
bool page_map(struct pages *p, uint32_t slot, const struct page *page);
bool page_open_access(struct pages *p, uint32_t first, uint32_t count);
bool page_unmap(struct pages *p, uint32_t first, uint32_t count);
bool page_release(struct pages *p, struct page *page);
struct page *page_descriptor(struct pages *p);
/* Pages whose memory is free, and the extents with them, leave the books under the lock: */
struct run { uint32_t first, count; };
enum { RUNS = 64 };
struct haul { struct run run[RUNS]; unsigned runs; uint32_t slots; bool lost; /* never to serve again: each run is one page */ };
void haul_free(struct pages *p, struct haul *haul, uint32_t slots, const struct extent *but);
/* The haul is unmapped; its pages, in a list. What the driver refuses to unmap is where it was, or condemned. */
struct page *haul_unmap(struct pages *p, struct haul *haul);
/* Pages of lost memory, in such a list, go back to the driver; those that it refuses are condemned. Returns the bytes that went. */
uint64_t pages_send_away(struct pages *p, struct page *list);
/* Small blocks lie apart: some live long, and would stand in pages that a large one could have whole. More than an eighth of a page
 * is not small: so much of a page may be left where the next one does not fit. */
enum { SMALL_MOST = (2 << 20) / 8, ELSEWHERE_MOST = (2 << 20) / 2, FEW_PAGES = 1024 };
static inline enum area pages_area(uint64_t asked) { return asked <= SMALL_MOST ? AREA_SMALL : AREA_LARGE; }
static inline uint64_t pages_granules(uint64_t bytes) { return (bytes + GRANULE - 1) / GRANULE; }
#endif
