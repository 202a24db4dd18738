/* page.h: device memory in pages: physical memory without an address, mapped where it is wanted.
 *
 * A *page* is one physical handle of 2 MiB (cuMemCreate). It is *free*, or *whole* (mapped in the run of one large block),
 * or it has a *share* (gap.h): then parts of it belong to several blocks, each of which has it mapped in its own run, and
 * small blocks lie at its *home*, a slot of its own that it keeps while it exists. Any free pages serve any request:
 *
 *     large block      [ back gap of a share | whole pages ... | front gap of a share ]
 *     small block      an extent of a share, at the share's home: no call of the driver
 *
 * So what a request leaves over of its last page is the next one's, and what lies between blocks is never lost to a size.
 * A block is told by its address and size alone: what lies in which slot says the rest.
 *
 *     count * 2 MiB = what the context has taken from the driver for pages
 *                   = blocks (live and cached) + free pages + gaps + lost extents
 *
 * One `struct pages` a context, under its lock; calls of the driver are made outside of it but where a home is made.
 * Unmapping is not ordered with streams: a block comes back (pages_give) only when its epoch has passed. */
#ifndef COPPICE_DEVICE_PAGE_H
#define COPPICE_DEVICE_PAGE_H
#include "base/lock.h"
#include "device/context.h"
#include "device/gap.h"
#include "device/space.h"

enum { PAGE_ACCESS = 32 };
#define NO_SLOT UINT32_MAX

struct page {
    CUmemGenericAllocationHandle handle;
    struct page *next;   /* free pages; spare descriptors */
    struct share *share; /* NULL: free or whole */
    uint32_t home;       /* its slot for small blocks, NO_SLOT until it has one */
    /* pages of weights (weights.h): slots that have it mapped; it is another process's, or has been shown to one; kernels only read */
    uint32_t users;
    bool borrowed, exported, read_only;
};

struct pages {
    struct lock lock;
    struct context *context;
    struct space space;
    struct gaps gaps;
    struct page *free[2];            /* without and with a home */
    _Atomic uint32_t free_count;
    uint32_t count;                  /* all pages */
    struct page *spare;
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

/* What a request got. */
struct stitched {
    uint64_t address, size; /* size: bytes of the block, rounded up to granules, or to the page where little is left over */
    bool called;            /* the driver was called */
    uint32_t missing;       /* PAGES_SHORT: so many free pages would do */
};
enum pages_answer { PAGES_OK, PAGES_SHORT, PAGES_FAILED };
/* A block for `asked` bytes out of gaps and free pages. Nothing else changes: who is short steals or grows and comes again. */
enum pages_answer pages_take(struct pages *p, uint64_t asked, struct stitched *got);
/* The block's memory is free again. `lost`: its identity was exported, so its memory never serves again: whole pages go
 * back to the driver, an extent of a share stays taken while the page has other users. False: the driver refused. */
bool pages_give(struct pages *p, uint64_t address, uint64_t size, bool lost);
/* Takes up to `n` new pages from the driver; returns how many it got. */
uint32_t pages_grow(struct pages *p, uint32_t n);
/* Gives free pages back to the driver until `bytes` have gone; returns the bytes. */
uint64_t pages_shrink(struct pages *p, uint64_t bytes);
static inline uint32_t pages_free(const struct pages *p) { return atomic_load_explicit(&p->free_count, memory_order_relaxed); }
/* Where the block around `address` begins; 0: no block is there. */
uint64_t pages_base(struct pages *p, uint64_t address);
/* The context's memory is no more: everything is unmapped and given back. */
void pages_drop(struct pages *p);
/* `device` may reach this memory from now on (peer access). */
void pages_admit(struct pages *p, CUdevice device);

/* A descriptor; under the lock. NULL: no memory. */
struct page *page_descriptor(struct pages *p);
/* For stitch.c: a free page, one with a home if need be, NULL: none; a page becomes free; an empty share's page does. */
struct page *page_pop(struct pages *p, bool with_home);
void page_push(struct pages *p, struct page *page);
bool page_make_home(struct pages *p, struct page *page);
bool page_release(struct pages *p, struct page *page);
bool page_map(struct pages *p, uint32_t slot, const struct page *page);
bool page_open_access(struct pages *p, uint32_t first, uint32_t count);
bool page_unmap(struct pages *p, uint32_t first, uint32_t count);
#endif
