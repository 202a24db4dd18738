/* shared.c: see shared.h. A byte a page, in address space that is touched only where something is shared. */
#include "heap/shared.h"
#include "base/hints.h"
#include "base/sys.h"
#include "heap/reach.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { SEGMENTS = 512 };
static struct { uintptr_t base; size_t pages; unsigned char *mark; } segments[SEGMENTS];
static _Atomic unsigned marked; /* segments below may have marks */

bool heap_shared_ready(unsigned n) {
    uintptr_t base, top;
    if (n < marked && segments[n].mark) return true;
    if (n >= SEGMENTS || !heap_segment(n, &base, &top)) return false;
    size_t pages = (size_t)1 << 28; /* a TiB; untouched address space */
    unsigned char *mark = NULL;
    while (!(mark = sys_map(NULL, pages, PROT_READ | PROT_WRITE)) && pages > 1 << 16) pages /= 4;
    if (!mark) return false;
    segments[n].base = base, segments[n].pages = pages, segments[n].mark = mark;
    if (n >= marked) atomic_store(&marked, n + 1);
    return true;
}

/* The marks of a range and how many; NULL: it has none. */
static unsigned char *marks_of(uintptr_t at, size_t length, size_t *count) {
    for (unsigned n = 0, most = atomic_load_explicit(&marked, memory_order_acquire); n < most; n++) {
        size_t first = (at - segments[n].base) / REACH_PAGE;
        if (!segments[n].mark || at < segments[n].base || first >= segments[n].pages) continue;
        size_t rest = segments[n].pages - first;
        *count = (length + REACH_PAGE - 1) / REACH_PAGE < rest ? (length + REACH_PAGE - 1) / REACH_PAGE : rest;
        uintptr_t base, top;
        if (heap_segment(n, &base, &top) && at < top) return segments[n].mark + first;
    }
    return NULL;
}

void heap_shared_mark(uintptr_t at, unsigned pages) {
    size_t count;
    unsigned char *mark = marks_of(at, (size_t)pages * REACH_PAGE, &count);
    if (mark) memset(mark, 1, count);
}

bool heap_unshare(void *at, size_t length) {
    size_t count;
    if (likely(atomic_load_explicit(&marked, memory_order_acquire) == 0)) return false;
    unsigned char *mark = marks_of((uintptr_t)at, length, &count);
    if (!mark || !memchr(mark, 1, count)) return false;
    int saved = errno;
    void *fresh = mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = saved;
    if (fresh == MAP_FAILED) return false;
    memset(mark, 0, count);
    return true;
}
