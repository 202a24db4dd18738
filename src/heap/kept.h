/* kept.h: the large blocks that a thread is about to ask for again.
 * A program takes a work buffer, gives it back and takes it again; jemalloc needs 150 ns for such a pair of 1 MiB, glibc 16.
 * A *kept* block is one of 64 KiB to 1 MiB that this thread freed and that jemalloc still counts as taken. There are at
 * most two a thread, and one that is not asked for goes to jemalloc after some 2000 further calls. A thread that does nothing
 * makes none: a server's pool of 40 idle threads would rest on 80 MiB. So a *sweep*, once a second, takes away what idle threads
 * keep; whoever exchanges a block's address for NULL has the block. kept_taken and kept_given set jemalloc's byte counts
 * right: what the program was given from here, and what it freed to here and jemalloc has not seen; a thread that sweeps
 * counts for itself. All else is the owner's. */
#ifndef COPPICE_HEAP_KEPT_H
#define COPPICE_HEAP_KEPT_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { KEPT_BLOCKS = 2, KEPT_LEAST = 64 << 10, KEPT_MOST = 1 << 20, KEPT_AGE = 2 };

struct kept_block {
    _Atomic(void *) at; /* NULL: none */
    size_t usable;      /* of what is or was there */
    unsigned age;        /* rare publications since it was kept */
};

/* Has anybody ever asked for a large block? Until then no free needs to look at a size. */
extern bool kept_any_large __attribute__((visibility("hidden")));

/* A block of at least `size` bytes and at most a third more, or NULL. */
void *kept_take(size_t size);
/* Takes p, freed by the program, if it is of a size to be kept; false: the caller frees it. */
bool kept_give(void *p);
/* Gives blocks of KEPT_AGE and older (all: every block) to jemalloc. */
void kept_release(bool all) COLD;
/* Gives to jemalloc what threads keep that have done nothing since the last sweep (all: every thread). */
void kept_sweep(bool all);

/* From now on others may ask this thread for what it keeps, or no longer. */
struct heap_thread;
void kept_thread_begin(struct heap_thread *t);
void kept_thread_end(struct heap_thread *t);
/* In a fork's child, where `only` is. */
void kept_fork_child(struct heap_thread *only);
#endif
