/* packed.h: blocks side by side, whatever their sizes: COPPICE_PACK.
 *
 * An allocator of size classes keeps a freed place for blocks of its class. A program that deletes half of what it has and fills up with
 * larger values (a key-value store's churn) therefore pays for both: every such allocator lies a third above glibc there (docs/HOST.md).
 * Where packing is on, untyped blocks of PACKED_LEAST to PACKED_MOST bytes lie side by side in *areas*; a freed one becomes one with its
 * free neighbours, and a request takes the smallest free block that is large enough. What a program asks for in turn (an entry, its name,
 * its value) lies together and often goes together, so each block is cut alone, not several of a size at once. Before each block stands a
 * *header* of 8 bytes; free ones hang in *bins* by size: exact to 16 bytes below 1 KiB, 32 to a doubling above. Whole free pages go back to
 * the system with the heap's purges, and those of larger free blocks after two to four seconds.
 * One lock guards it all. What each thread has at hand (hand.h) is taken and given without it, and nobody waits for it: where another thread
 * has it, jemalloc serves. By default packing begins when a process has PACKED_FROM bytes in small blocks (a small heap can't lose much
 * to its size classes) and ends for good when threads often meet here. */
#ifndef COPPICE_HEAP_PACKED_H
#define COPPICE_HEAP_PACKED_H
#include "heap/heap.h"
#include "heap/thread.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { PACKED_LEAST = 17, PACKED_WASTEFUL = 25 /* to 32: they take 48 here, 32 in a class */, PACKED_MOST = 32 << 10, PACKED_FROM = 8 << 20, TYPE_PACKED = HEAP_TYPES /* of its segments */ };

extern _Atomic bool packed_on __attribute__((visibility("hidden")));
/* Where the first areas lie; those that follow them are part of it as long as nothing comes between. */
extern struct heap_range packed_first __attribute__((visibility("hidden")));
static inline bool packed_owns_fast(const void *p) { return (uintptr_t)p - packed_first.base < packed_first.length; }
/* Once, when options are known. */
void packed_begin(void);
/* Begins to pack, or gives it up: at each look of the heap at itself, with the bytes that the process has in small blocks. */
void packed_consider(size_t small);
/* A block; flags as heap_typed_alloc's, -1 too. NULL: of another size, aligned to more than 16, no memory, or another thread was at it. */
void *packed_alloc_fitting(size_t size, int flags);
static inline void *packed_alloc(size_t size, int flags) {
    return likely(size - PACKED_LEAST <= PACKED_MOST - PACKED_LEAST && size - PACKED_WASTEFUL > 7) ? packed_alloc_fitting(size, flags) : NULL;
}
void packed_free(void *p);
/* Blocks of the caller's hand (hand.h) are free. */
void packed_take_back(void *const *p, unsigned count);
size_t packed_usable(const void *p);
/* Makes it `size` bytes where it lies; false: it is as it was. */
bool packed_resize(void *p, size_t size);
/* Whole pages of free blocks go back to the system. */
void packed_purge(void);
/* The same of those that have been free for a while; does nothing more often than each two seconds. */
void packed_decay(uint64_t now_ns);
/* Bytes that live blocks and free ones have, without pages that went back. */
size_t packed_held(void);
void packed_fork_prepare(void);
void packed_fork_done(void);
#endif
