/* fit.h: which cached block may serve a request that no block fits well, and how large a new block is made.
 *
 * A block *fits* when at most an eighth of it is left over (shard.h): that is the hit. Programs whose sizes change a little
 * from step to step (a growing cache, batches of varying length) would then never hit, and every request would give
 * one block back to take another from the driver. So
 * - a request may *take loosely* a block that is too large when memory that is not needed now is what gets wasted: what
 *   is reserved is at what demand is worth and not half of that is in use; or within the *allowance*, a twentieth
 *   of what demand is worth for all live blocks together; a small request may also when nothing is scarce, but
 *   now and then gets a block of its own, since a size that comes again and again should hit.
 * - a new block is *rounded up* by at most an eighth when cached blocks that are a little too small show that sizes vary, so
 *   that the next size finds it. Within the same allowance.
 * What is wasted is counted as rounding. The figures are the best of a search over the workloads of tests/bench. */
#ifndef COPPICE_DEVICE_FIT_H
#define COPPICE_DEVICE_FIT_H
#include "device/context.h"

/* The largest block that may serve `size` bytes now; at least `size`. */
uint64_t fit_most(struct context *c, uint64_t size);
/* Bytes to ask the driver for when the program wants `size`. */
uint64_t fit_new(struct context *c, uint64_t size);
#endif
