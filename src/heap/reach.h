/* reach.h: taking pages out of everybody's reach, to look at them and to decide.
 *
 * Pages of private anonymous memory are moved to a place of our own (UFFDIO_MOVE, Linux 6.8): whoever touches them meanwhile, in user
 * code or in a system call, waits in the kernel. Page by page it is then decided: *put back* as it was, *dropped* (reads as zero from now
 * on) or *replaced* by a private mapping of a file. Write-protection would not do: a device or the kernel writes through an existing pin
 * all the same. Moving refuses pinned pages, pages still shared with a fork's other half, and pages that the kernel has merged; these
 * stay in place.
 *
 * A *reach* lasts some 100 microseconds for a chunk of 2 MiB; no thread answers the waiting ones: they go on when the chunk is
 * unregistered. Between reach_out and reach_back the caller touches nothing in the chunk, calls no malloc and takes no lock that others
 * hold while they touch memory. One reach at a time in a process; fork waits for its end (a raw clone system call does not: its child may
 * miss pages). Needs full userfaultfd: privilege, /dev/userfaultfd, or vm.unprivileged_userfaultfd=1. */
#ifndef COPPICE_HEAP_REACH_H
#define COPPICE_HEAP_REACH_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { REACH_PAGE = 4096, REACH_PAGES = 512, REACH_CHUNK = REACH_PAGE * REACH_PAGES };

enum reach_state {
    REACH_LEFT,     /* was never moved: absent, pinned, swapped out, shared; nothing is known of it */
    REACH_OUT,      /* out of reach; to be looked at */
    REACH_SETTLED   /* dropped or replaced */
};
struct reach {
    uintptr_t at;        /* of the chunk */
    unsigned pages;
    const char *look;    /* where the pages lie now; only REACH_OUT ones may be touched */
    uint8_t state[REACH_PAGES];
};

/* Does the kernel let us? Asked once a process, and again after fork. */
bool reach_possible(void);
/* Takes what it can of [at, at + pages) out of reach: `at` page-aligned, at most REACH_PAGES, in one mapping that may be written. True:
 * reach_back must follow, in this thread. False: nothing was changed. */
bool reach_out(struct reach *r, void *at, unsigned pages);
/* Page i reads as zero from now on. */
void reach_drop(struct reach *r, unsigned i);
/* Pages [i, i + count), all out of reach, become a private mapping of the file. The content must be equal: that is the caller's to see
 * to. False: the kernel refused, they are as before. */
bool reach_replace(struct reach *r, unsigned i, unsigned count, int fd, off_t offset);
/* Puts back what is out of reach, and lets everybody go on. */
void reach_back(struct reach *r);

/* Between these nobody has anything out of reach: for whoever gives memory back to the system or remaps it. Any thread; not while it has
 * something out of reach itself. */
void reach_wait(void);
void reach_go_on(void);
/* Nothing goes out of reach any more: the program has all its memory locked, ours too, and what is locked neither moves nor is dropped. */
void reach_stop(void);
/* Around fork. */
void reach_fork_prepare(void);
void reach_fork_parent(void);
void reach_fork_child(void);
#endif
