/* life.h: host memory of which each block is known: samples of how long it lives, by site (TYPE_LEARN), and key/value cache.
 *
 * A *life* is one such block from its allocation to its end. One allocation in some 64 of a thread is sampled, a large one in
 * eight; of key/value cache every one is known, for its line in the statistics. These blocks lie in an arena of their own (HEAP_LIVES,
 * typed.h), so that a free of any other asks nothing; a table of LIFE_MOST says of each whose it is, how large, and since when. A
 * sample that lives for LEARN_LONG_HOST_NS is an observation then, and leaves the table: those that live for ever would never be one.
 * When the table is full nothing more is known. What is made of observations: sites/learn.h.
 *
 * An entry belongs to whoever changed its address to LIFE_BUSY by compare-and-swap; no locks, so a handler may allocate and free. */
#ifndef COPPICE_HEAP_LIFE_H
#define COPPICE_HEAP_LIFE_H
#include "sites/site.h"
#include <stddef.h>

enum { LIFE_MOST = 4096, LIFE_NEAR = 8 };

/* A block of `size` bytes begins its life at p; false: there is no room. */
bool life_begin(void *p, size_t size, struct kind kind, uint64_t now_ns);
/* The block at p ends (free, realloc), if it is in the table. Returns what it was; size 0: nothing is known. */
struct life_known { struct kind kind; size_t size; };
struct life_known life_end(void *p, uint64_t now_ns);
/* Once a second: those that have lived long. */
void life_sweep(uint64_t now_ns);
/* A number that follows no rhythm of the program, for who is sampled. */
uint32_t life_random(void);
#endif
