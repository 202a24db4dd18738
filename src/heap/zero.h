/* zero.h: pages of the heap that hold nothing but zeros, dropped in the background.
 *
 * Servers allocate a cache for the longest context, fill it with zeros and use a few per cent. Where that is done by memset,
 * clear.h never writes the pages; a framework that fills by kernels of its own writes every one. A page of zeros says no
 * more than no page at all, so it is *dropped*: it reads as zero, costs nothing, and comes back when it is written.
 *
 * The heap is looked over chunk by chunk (REACH_CHUNK), in *passes*. The kernel says which pages are there and are not the
 * zero page (PAGEMAP_SCAN); those are read, through the kernel, so that memory that goes away meanwhile does no harm. A page
 * that was all zero in two passes is a *candidate*. A chunk with enough of them is taken out of everybody's reach
 * (reach.h), and what is still zero there is dropped: nobody can have written between the look and the drop. Pinned pages
 * refuse to be taken and stay. A pass that brought little is followed by a longer rest.
 *
 * A process that has memory which is never given back (the emotional type) is left alone: its pages are there to be fast.
 * Needs Linux 6.8 and userfaultfd (privilege, /dev/userfaultfd or vm.unprivileged_userfaultfd); without, nothing is done. */
#ifndef COPPICE_HEAP_ZERO_H
#define COPPICE_HEAP_ZERO_H
#include <stdint.h>

/* Goes on with the pass for about `budget_ns` of processor time, or rests. `rest_ns` is the shortest rest between two
 * passes. For one thread, the service thread. Returns the bytes dropped. */
uint64_t heap_zero_look(uint64_t now_ns, uint64_t budget_ns, uint64_t rest_ns);
/* In a fork's child: what was seen was the parent's. */
void heap_zero_fork_child(void);
#endif
