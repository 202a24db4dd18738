/* huge.h: which memory of the heap may lie on *huge pages* (2 MiB): COPPICE_THP.
 *
 * A huge page makes memory that is filled from end to end cheaper to touch, and memory of which one byte is used 512 times dearer. So
 * `auto` asks for them only where a type says that its memory is filled (heap/typed.c), and forbids them where a large clear was not
 * written (heap/clear.c): that is how caches for the longest context begin. Everywhere else the machine's setting holds, as it does
 * without us. `never` and `always` are for the whole heap, from the start of the process. */
#ifndef COPPICE_HEAP_HUGE_H
#define COPPICE_HEAP_HUGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Address space that the heap will use. */
void heap_huge_segment(void *at, size_t length);
/* May a type ask for huge pages? */
bool heap_huge_allowed(void);
/* This reads as zero and has no pages; nobody knows yet how much of it will be used. */
void heap_huge_sparse(uintptr_t at, size_t length);
#endif
