/* block.h: one whole driver allocation, and the table that finds it by address.
 *
 * A *block* is born when the driver answers an allocation and dies when it is given back; its descriptor is never
 * unmapped, so a stale pointer to one is harmless. States:
 *
 *     LIVE ──free──► CACHED (pending behind its epoch, then ready) ──reuse──► LIVE
 *       │                └──trim──► GONE
 *       └──free by the driver──► GONE
 *
 * LIVE → anything is taken by compare-and-swap, so that of two frees of one pointer only one succeeds; the other moves
 * need the lock of the shard that holds the block. reserved bytes of a block = size; live part = asked. */
#ifndef COPPICE_DEVICE_BLOCK_H
#define COPPICE_DEVICE_BLOCK_H
#include "sites/site.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum block_state { BLOCK_GONE, BLOCK_LIVE, BLOCK_CACHED };
struct context;

/* To whom it belongs (budget.h); written at birth, by hits and by climbing, under the lock of the shard that has it. */
struct owner {
    uint32_t key;        /* who asked last, and needs no question to have it again; 0: nobody */
    uint32_t id, end;    /* membrane, and the end of its descendants */
    uint32_t since;      /* second from which its idle time counts at this level; 0: not seen yet */
    uint16_t cell;       /* of a set of cells, by type and level */
    uint8_t level, type;
};

/* Two lines of cache, and a hit or a free touches just these. */
struct block {
    uint64_t address;          /* device address; constant while not GONE */
    uint64_t size;             /* bytes asked of the driver */
    uint64_t asked;            /* bytes asked by the program this time; written by the allocating thread */
    uint64_t epoch;            /* CACHED: reusable once this epoch has passed; 0: it has */
    struct context *context;   /* constant while not GONE */
    _Atomic uint32_t state;
    _Atomic uint32_t tainted;  /* identity was exported: never reused */
    struct kind kind;          /* what this allocation is; written by the allocating thread, kept while cached */
    uint32_t tick;             /* CACHED: the context's seconds when it was freed */
    uint16_t bin;              /* of its size (shard.h) */
    bool weights;              /* made by weights.h: never cached; constant once its address is known to anybody */
    struct owner owner;
    uint64_t born;             /* LIVE, where sites learn: CLOCK_MONOTONIC ns of the allocation */
    union {
        LIST_ENTRY(block) fitting;   /* CACHED and ready: its bin; free descriptors too */
        TAILQ_ENTRY(block) waiting;  /* CACHED and pending */
    };
    TAILQ_ENTRY(block) aging;        /* CACHED: its type's blocks by time of free */
} __attribute__((aligned(128)));

/* The block whose allocation starts at `address`, or NULL. No lock; a few loads. */
struct block *block_find(uint64_t address);
/* A new block in state LIVE, in the table; NULL when no memory for descriptors can be had. */
struct block *block_new(struct context *context, uint64_t address, uint64_t size, uint64_t asked);
/* Out of the table, so that the driver may hand out the address again; the caller owns the block exclusively. */
void block_hide(struct block *block);
/* Back into the table, after the driver refused to free it. */
void block_show(struct block *block);
/* Recycles the descriptor of a hidden block. */
void block_recycle(struct block *block);
/* Calls `each` for every block in the table under the table's lock (it must not add or delete). */
void block_each(void (*each)(struct block *block, void *with), void *with);
/* In a fork's child: the lock is free again, the blocks are the parent's. */
void block_fork_child(void);

static inline bool block_move(struct block *b, enum block_state from, enum block_state to) {
    uint32_t expected = from;
    return atomic_compare_exchange_strong_explicit(&b->state, &expected, to, memory_order_acq_rel, memory_order_relaxed);
}
#endif
