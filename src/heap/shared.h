/* shared.h: pages of the heap that are a private mapping of a file of shared content (src/intern/share.h).
 *
 * A program cannot tell such a page from its own: a write makes it one. But it differs from anonymous memory when it is given back:
 * MADV_DONTNEED would bring the file's content again, not zeros, and MADV_FREE fails. So the heap *unshares* first: fresh anonymous
 * memory is mapped over the whole range. Marks are made and read while nobody has pages out of reach (heap/reach.h) or by who has. */
#ifndef COPPICE_HEAP_SHARED_H
#define COPPICE_HEAP_SHARED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A segment of the heap (heap/heap.h), as far as it has been used; false: there is no such one. */
bool heap_segment(unsigned n, uintptr_t *base, uintptr_t *top);
/* Room for the marks of a segment; false: no memory. */
bool heap_shared_ready(unsigned segment);
/* These pages have just become shared. */
void heap_shared_mark(uintptr_t at, unsigned pages);
/* If any page of the range is shared, all of it becomes fresh zeros; true: it did. */
bool heap_unshare(void *at, size_t length);
#endif
