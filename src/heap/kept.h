/* kept.h: the large blocks that a thread is about to ask for again.
 * A program takes a work buffer, gives it back and takes it again; jemalloc needs 150 ns for such a pair of 1 MiB, glibc 16.
 * A *kept* block is one of 64 KiB to 1 MiB that this thread freed and that jemalloc still counts as taken. There are at
 * most two a thread, so an idle thread rests on 2 MiB at most, and one that is not asked for goes to jemalloc after some
 * 2000 further calls. kept_taken and kept_given set jemalloc's byte counts right: what the program was given from here,
 * and what it freed to here and jemalloc has not seen. Only the owner touches any of this. */
#ifndef COPPICE_HEAP_KEPT_H
#define COPPICE_HEAP_KEPT_H
#include "base/hints.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEPT_BLOCKS = 2, KEPT_LEAST = 64 << 10, KEPT_MOST = 1 << 20, KEPT_AGE = 2 };

struct kept_block {
    void *at;      /* NULL: none */
    size_t usable;
    unsigned age;  /* rare publications since it was kept */
};

/* Has anybody ever asked for a large block? Until then no free needs to look at a size. */
extern bool kept_any_large __attribute__((visibility("hidden")));

/* A block of at least `size` bytes and at most a third more, or NULL. */
void *kept_take(size_t size);
/* Takes p, freed by the program, if it is of a size to be kept; false: the caller frees it. */
bool kept_give(void *p);
/* Gives blocks of KEPT_AGE and older (all: every block) to jemalloc. */
void kept_release(bool all) COLD;
#endif
