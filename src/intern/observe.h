/* observe.h: how much of the live memory is duplicate content (COPPICE_INTERN=observe): a profile by size, for any program.
 *
 * Blocks are *sampled* when they are allocated: the allocation at which a thread publishes its numbers (one in 64 of small ones, each of
 * 64 KiB and more). A sampled block begins on a page of its own, as in a profiler, so that a free of such an address is all that has to
 * be looked at more closely. The service thread reads the live samples now and then, some 32 MiB at most each time, and counts in each
 * *group* (blocks of a size class; from 64 KiB on of a power of two, page by page) how many have a content that another sample of the
 * group has too. A sample stands for `weight` allocations; what another page or block outside the sample holds is not seen, so the share
 * is a lower bound. */
#ifndef COPPICE_INTERN_OBSERVE_H
#define COPPICE_INTERN_OBSERVE_H
#include <stdbool.h>
#include <stddef.h>

/* Once; from then on blocks are sampled. */
void observe_start(void);
extern bool observe_on __attribute__((visibility("hidden")));
/* A block was allocated on the slow way and the thread has published: returns it, or, sampled, another of the same content that begins on
 * a page. */
void *observe_allocated(void *p, size_t size);
/* A block that begins on a page is freed. */
void observe_freed(void *p);
/* Looks at the samples if it is time. From the service thread. */
void observe_look(void);
#endif
