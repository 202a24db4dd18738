/* clear.h: clearing memory by giving its pages back.
 *
 * Servers allocate a cache for the longest context, clear all of it and use a few per cent. A page that is given back
 * reads as zero and costs nothing until it is touched; one that was written with zeros costs a page for ever. So a large
 * clear of the heap's own memory gives back the whole pages inside and writes only the edges.
 * Not for memory that a device or the kernel writes into by its physical pages (*pins*: VmPin of /proc/self/status, which
 * counts io_uring and RDMA registrations, and registrations that our hooks see); not where the program armed
 * userfaultfd; not where pages are locked, shared, of a file or huge (the kernel says so). A *site* (the caller) that
 * fills at once what it has cleared is left to clear by writing: it would only pay for faults.
 * The first touch moves to the first use: memory may run out there instead of at the clear, and NUMA placement follows
 * whoever writes first. LAZY_CLEAR=0 restores first touch at the clear. */
#ifndef COPPICE_HEAP_CLEAR_H
#define COPPICE_HEAP_CLEAR_H
#include <stdbool.h>
#include <stddef.h>

/* Below this reading /proc/self/status costs as much as the clear. */
enum { HEAP_CLEAR_LEAST = 1 << 20 };

typedef void *heap_fill(void *p, int value, size_t length);
/* Clears `length` (>= HEAP_CLEAR_LEAST) bytes of our heap; `fill` writes the edges. False: nothing was done. errno is kept. */
bool heap_clear(void *p, size_t length, const void *site, heap_fill *fill);
/* Memory was registered for, or released from, transfers by a device (+1, -1). */
void heap_pins_add(int count);
/* The program watches page faults itself: no clearing in place from now on. */
void heap_clear_forbid(void);
#endif
