/* source.h: where a block comes from when the cache has none, and where it goes when it may not be cached.
 * Two backends. *block*: the driver, a whole allocation a block (device.c asks it). *page*: an extent of mapped pages
 * (page.h), for requests up to an eighth of the device; larger ones come whole from the driver in this backend too, since
 * nothing else could use thousands of pages at once. */
#ifndef COPPICE_DEVICE_SOURCE_H
#define COPPICE_DEVICE_SOURCE_H
#include "device/page.h"
#include "device/pool.h"

/* A live block made of pages for `asked` bytes; 0: ask the driver. In this order, so that the device's peak stays the
 * program's own: free memory; cached blocks that are ready; those that become ready in a short while; free pages elsewhere and
 * new pages; when the device is full, of all that is behind a fence and of other contexts. */
uint64_t source_take(struct context *c, uint64_t asked);
/* Blocks for `asked` bytes come whole from the driver from now on: the program wants to show them to others, and could not. */
void source_make_whole(uint64_t asked);
bool source_comes_whole(uint64_t asked);
/* Is freeing this block ours to do, and not the driver's? */
bool source_frees(const struct block *b);
/* Frees one that may not be cached: waits for the work that may use it, as the driver's free would; during a capture the
 * driver says whether a free is legal. */
CUresult source_free(struct block *b);
/* Does `address` lie in memory that pages are mapped in? Where the block around it begins; 0: not there. */
bool source_owns(uint64_t address);
uint64_t source_base(uint64_t address);
/* `peer` opened its memory to the context that is current: its pages too. */
void source_admit(struct context *peer, CUdevice device);
#endif
