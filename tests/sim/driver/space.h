/* space.h: device addresses.
 *
 * window   one reservation of address space without access; every device pointer lies in it. Its first part holds the arenas,
 *          one a device, in which an offset into the arena's file is an offset into the window; the rest (the *free zone*) is
 *          for address reservations and for memory of other processes.
 * alias    a second reservation of the same size and layout, with access: pointer + window.delta.
 * block    see sim.h. `size` is what was asked for and what may be touched; `span` what it occupies.
 * table    2 MiB page of the window -> the block that covers it, or the slab that lies in it. A lookup is two loads.
 * slab     a 2 MiB page cut into equal slots for small blocks.
 * Everything here is guarded by memory_lock. */
#ifndef SIM_SPACE_H
#define SIM_SPACE_H
#include "sim.h"

enum block_kind { BLOCK_PLAIN, BLOCK_ASYNC, BLOCK_MAPPING, BLOCK_IPC, BLOCK_GRAPH, BLOCK_IMPORTED };

struct block {
    struct block *next, *prev;           /* its context's list; `next` also links free descriptors */
    CUdeviceptr base;
    size_t size, span;
    size_t extent;                       /* what may be touched: size; stream-ordered blocks: span, since the next user of a block
                                            is known before the work of the last has run */
    u64 reserved;                        /* charged to the capacity; 0 where somebody else pays */
    enum block_kind kind;
    struct device *device;
    CUcontext context;
    u64 id;
    bool dirty;                          /* written since it was handed out */
    bool readable, writable;             /* mappings: after cuMemSetAccess */
    bool sync_memops;
    bool exported;                       /* a legacy IPC handle was made */
    bool pitched;
    u64 shared_id;                       /* of its set_object, if any */
    u64 seen_by;                         /* bit set of devices with access (mappings) */
    void *owner;                         /* the pool, physical handle or IPC import behind it */
    size_t offset;                       /* mapping: offset in the physical handle */
};

struct window { CUdeviceptr base; size_t size; ptrdiff_t delta; CUdeviceptr zone; };
extern struct window window;
extern pthread_mutex_t memory_lock;

CUresult space_init(void);
u64 sim_set_capacity(int ordinal);
static inline bool in_window(u64 p) { return p - window.base < window.size; }
static inline void *alias(CUdeviceptr p) { return (char *)(uintptr_t)p + window.delta; }
struct block *space_find(CUdeviceptr pointer);               /* the block that holds this address, or NULL */
void space_publish(struct block *block);                     /* page-sized blocks */
void space_unpublish(struct block *block);
void space_set_page(CUdeviceptr pointer, uintptr_t entry);
uintptr_t space_page(CUdeviceptr pointer);
struct block *block_new(void);
void block_recycle(struct block *block);

/* Checks that [pointer, pointer+size) may be touched now, and returns the host's view of it; NULL if not. */
void *space_touch(CUdeviceptr pointer, size_t size, bool write);

/* ---- arena.c */
struct slab;
struct arena {
    struct device *device;
    int fd;
    u64 inode;
    CUdeviceptr base;
    size_t pages, words, hint;
    u64 *used, *stained;                 /* bit sets over pages: taken; holding old bytes that must not show as fresh */
    struct slab *partial[96];            /* slabs with free slots, by size class */
};
CUresult arena_init(struct device *device, CUdeviceptr base, size_t size, int fd, u64 inode);
CUdeviceptr arena_take(struct arena *arena, size_t pages);   /* 0: no room. The memory reads as zero */
void arena_give(struct arena *arena, CUdeviceptr base, size_t pages, bool dirty);
bool arena_take_small(struct arena *arena, size_t size, struct block *block);
void arena_give_small(struct block *block);
struct block *slab_find(uintptr_t entry, CUdeviceptr pointer);
#endif
