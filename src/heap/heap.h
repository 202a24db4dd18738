/* heap.h: the host's heap: one jemalloc that lives in address space of ours.
 *
 * A *segment* is a reservation: address space without memory, of which jemalloc takes piece after piece from below; what
 * lies above its *top* has never been touched. The first segment is large enough for nearly every process, so "is this
 * pointer ours?" is one compare; further segments are looked at only when that fails.
 * Memory of each type (typed.h) has segments of its own, made when the type is first used.
 * The *bootstrap arena* is a fixed block that serves whoever asks before the heap is up. Its blocks are never reused.
 * All of jemalloc's memory, metadata too, lies in segments: a pointer outside them and outside the arena is *foreign*. */
#ifndef COPPICE_HEAP_HEAP_H
#define COPPICE_HEAP_HEAP_H
#include "base/hints.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first segment; written when it is made and when its tail is given back. */
struct heap_range {
    uintptr_t base;
    size_t length;
};
extern struct heap_range heap_first __attribute__((visibility("hidden")));

static inline bool heap_owns_fast(const void *p) { return (uintptr_t)p - heap_first.base < heap_first.length; }
/* The whole truth: the first segment, then the others. False for NULL. */
bool heap_owns(const void *p) COLD;
/* The same and more: HEAP_FOREIGN, else the type of the segment that holds p (enum coppice_type, or TYPE_PARAMS). */
enum { HEAP_FOREIGN = -1 };
int heap_lives_in(const void *p);

/* Makes the first segment and starts jemalloc. False: no address space; nothing was changed. Call once, not concurrently. */
bool heap_init(void);

/* reserve.c */
bool heap_reserve_init(void);
/* Gives the untouched part of every segment back to the system and asks for small segments from now on: before
 * mlockall and before a lower RLIMIT_AS comes into force, which would count it. */
void heap_release_tail(void);
/* Zeroed writable memory from a segment of that type, for its arena; NULL: none. `alignment` is a power of two. */
void *heap_reserve_piece(size_t length, size_t alignment, unsigned type);
/* Address space held, touched or not. */
size_t heap_reserved_bytes(void);
/* Bytes given back to the system by madvise since the start (modulo 2^64). */
size_t heap_returned_bytes(void);
void heap_reserve_fork_prepare(void);
void heap_reserve_fork_done(void);

/* heap.c */
/* Gives free memory back to the system, this thread's too; true when something went. */
bool heap_trim(void);
/* Gives back what is free in every arena; other threads keep what they have at hand. Returns the bytes. */
size_t heap_purge(void);
/* Is more free memory kept than demand is worth? For the cleaner, once a second. */
bool heap_keeps_too_much(uint64_t now_ns);
/* Memory of the heap, live and cached, and what this process may have. False: not known yet. */
bool heap_use(uint64_t *used, uint64_t *limit);
/* Gives back what has been free for longer than the decay time, in every arena: jemalloc looks only at those in use. */
void heap_decay(void);
/* Decays, and writes resident, peak and cached bytes to the counters, if the last time was 100 ms ago. Reads the clock. */
void heap_refresh_now_and_then(void);
/* The same at once, for those who are about to show them; async-signal-safe (resident memory only). */
void heap_refresh_resident(void);

/* Called after an allocation of HEAP_VERY_LARGE and more, by the thread that made it: nobody's locks are held there. NULL: nobody wants
 * to know. */
enum { HEAP_VERY_LARGE = 1 << 20 };
extern void (*heap_on_very_large)(void) __attribute__((visibility("hidden")));

/* bootstrap.c */
void *bootstrap_alloc(size_t size, size_t alignment) COLD;
bool bootstrap_owns(const void *p);
size_t bootstrap_usable_size(const void *p);

/* fork.c: around fork, when all other locks of Coppice are held already. `heap_fork_prepare` does nothing, and so do the
 * others, when fork was called by a signal handler that interrupted the heap itself: its locks are the interrupted code's. */
void heap_fork_prepare(void);
void heap_fork_parent(void);
void heap_fork_child(void);
/* Has it come to the size at which looking after it in the background pays? */
bool heap_is_large(void);
/* In the child besides: it gets no service thread unasked. */
void heap_fork_child_alone(void);
#endif
