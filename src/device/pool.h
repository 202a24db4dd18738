/* pool.h: the reuse pool: freed device memory kept for the next request of its size.
 *
 * A *hit* is a request served by a cached block: one uncontended lock, no CUDA call. Everything is sized in bytes and
 * counted so that reserved = live + rounding + cached. Nothing here reports an error of its own: where the pool cannot
 * help, the caller asks the driver as it would without us.
 * Correctness: a block is handed out only when its epoch has passed (fence.h); one whose identity was exported never is;
 * during captures nothing is cached or handed out; a context that is gone, reset or in error gets nothing. */
#ifndef COPPICE_DEVICE_POOL_H
#define COPPICE_DEVICE_POOL_H
#include "device/capture.h"
#include "device/context.h"
#include <stdbool.h>
#include <stdint.h>

/* May the pool act in this context now? Two loads. */
static inline bool pool_is_open(struct context *c) {
    return atomic_load_explicit(&c->gate, memory_order_relaxed) == 0 && !capture_active();
}

/* Through which of the hooks a request came: for the trace. */
enum pool_layer { LAYER_DRIVER, LAYER_RUNTIME };

/* A cached block for `size` bytes (> 0), as its device address; 0: none, ask the driver. Threads: any. */
uint64_t pool_take(struct context *c, uint64_t size, enum pool_layer layer);
/* What becomes of a free. */
enum pool_verdict {
    POOL_KEPT,    /* cached: the free is done */
    POOL_FOREIGN, /* not a block of ours, or one that must go back: the driver decides */
    POOL_TWICE    /* a block that is already free: CUDA_ERROR_INVALID_VALUE */
};
enum pool_verdict pool_give(uint64_t address, enum pool_layer layer);
/* The same for a block that must be kept, whatever goes on: it waits in the cache until it may be used or taken apart. */
enum pool_verdict pool_keep(struct block *b);

/* Before the driver is asked for `size` bytes: cached blocks that demand is not worth go back first, so that the pool does
 * not grow past what the program itself would have had. Returns the bytes to ask for (fit.h). */
uint64_t pool_make_room(struct context *c, uint64_t size);
/* A driver allocation that succeeded: it becomes a live block of `size` bytes of which the program asked for `asked`. */
void pool_adopt(struct context *c, uint64_t address, uint64_t size, uint64_t asked);
/* One that nobody has asked for yet: cached, for requests of this type. False: no memory for its descriptor. */
bool pool_adopt_cached(struct context *c, uint64_t address, uint64_t size, enum coppice_type type);
/* Bytes cached of one type; a hint. */
uint64_t pool_cached_of(const struct context *c, enum coppice_type type);
/* The same for a block that pages were stitched into: `called` says whether that took a call of the driver. False: no
 * descriptor can be had, the memory is the caller's still. */
bool pool_adopt_pages(struct context *c, uint64_t address, uint64_t size, uint64_t asked, bool called);
/* Page backend: takes cached blocks apart whose epoch has passed, the oldest first, until a request of `asked` bytes finds
 * room. Whole driver allocations among them go back to the driver. Returns how many. */
uint64_t pool_steal(struct context *c, uint64_t asked);
/* Waits for the oldest memory behind a fence, at most `limit_ns`. False: there is none, or it has not passed. */
bool pool_wait_for_any(struct context *c, uint64_t limit_ns);
/* A live block that the driver is about to free: it leaves the table before the call, since the driver may hand out its
 * address to another thread at once; `failed` brings it back, `done` takes it off the books. NULL: not a live block. */
struct block *pool_disown(uint64_t address);
void pool_disown_failed(struct block *b);
void pool_disown_done(struct block *b);
/* The block that contains `address`, by its base: its identity was exported. */
void pool_taint(uint64_t base);
/* What the program asked for, for the allocation that starts at `base`; 0 when it is not a live block. */
uint64_t pool_asked(uint64_t base);

/* Gives everything that is cached in the context back to the driver. Returns the bytes. The driver's own free waits for
 * the work that may still use a block. Safe during captures (relaxed mode). */
uint64_t pool_flush_context(struct context *c);
/* Cached memory exists: the service thread is wanted, and the process's end is watched for. */
void pool_begin_chores(void);
/* For the cleaner: where the device is idle, what demand is no longer worth goes back; all that is not in use just now,
 * where memory is tight. Returns the bytes. */
uint64_t pool_chore(bool tight);
/* For the cleaner, where host memory is tight: cached page-locked memory that is not in use just now. Returns the bytes. */
uint64_t pool_host_is_tight(void);
/* Around what a thread of ours does to the driver: false (and nothing to end) once the process has begun to end. */
bool pool_chore_begins(void);
void pool_chore_ends(void);
/* Cached bytes of the device within POOL_MAX, reserved bytes of the context within what demand is worth. */
void pool_enforce_limits(struct context *c);
/* The context is gone and its memory with it: all its blocks leave the books. */
void pool_drop_context(struct context *c);
void pool_fork_child(void);
#endif
