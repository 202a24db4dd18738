/* packed.h: blocks side by side, whatever their sizes: COPPICE_PACK=1.
 *
 * An allocator of size classes keeps a freed place for blocks of its class. A program that deletes half of what it has and fills up with
 * larger values (a key-value store's churn) therefore pays for both: every such allocator lies a third above glibc there (docs/HOST.md).
 * Where packing is on, untyped blocks of PACKED_LEAST to PACKED_MOST bytes lie side by side in *areas*; a freed one becomes one with its
 * free neighbours, and a request takes the smallest free block that is large enough. Before each block stands a *header* of 8 bytes; free
 * ones hang in *bins* by size: exact to 16 bytes below 1 KiB, 32 to a doubling above. Whole free pages go back to the system with the
 * heap's purges.
 * One lock guards it all: a pair of malloc and free costs some 70 ns more than without, which is why it is off unless asked for. */
#ifndef COPPICE_HEAP_PACKED_H
#define COPPICE_HEAP_PACKED_H
#include "heap/thread.h"
#include <stdbool.h>
#include <stddef.h>

enum { PACKED_LEAST = 40, PACKED_MOST = 32 << 10, TYPE_PACKED = HEAP_TYPES /* of its segments */ };

extern bool packed_on __attribute__((visibility("hidden")));
/* Once, when options are known. */
void packed_begin(void);
/* A block; flags as heap_typed_alloc's. NULL: of another size, aligned to more than 16, or no memory. */
void *packed_alloc(size_t size, int flags);
void packed_free(void *p);
size_t packed_usable(const void *p);
/* Makes it `size` bytes where it lies; false: it is as it was. */
bool packed_resize(void *p, size_t size);
/* Whole pages of free blocks go back to the system. */
void packed_purge(void);
/* Bytes that live blocks and free ones have, without pages that went back. */
size_t packed_held(void);
void packed_fork_prepare(void);
void packed_fork_done(void);
#endif
