/* zone.c: the zone is made and shrinks; see zone.h. */
#include "heap/zone.h"
#include "base/sys.h"
#include "heap/thread.h"
#include <errno.h>
#include <sys/mman.h>

#define GIB ((size_t)1 << 30)
enum { SMALLEST = 30, LARGEST = 36 }; /* 1 to 64 GiB: the bytes of the largest take 80 MiB of address space */

struct heap_zone heap_zone = { .base = ZONE_NOWHERE };
static unsigned given; /* bit set of slices */
static bool tried;

/* Not MAP_NORESERVE, as segments (reserve.c). */
static void *reserve(size_t length) {
    int saved = errno;
    void *at = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    return at == MAP_FAILED ? NULL : at;
}

static void make(size_t wanted) {
    unsigned shift = LARGEST;
    void *at = NULL;
    while (shift > SMALLEST && (size_t)1 << shift > wanted) shift--;
    while (!(at = reserve((size_t)ZONE_SLICES << shift)) && shift > SMALLEST) shift--;
    size_t slice = (size_t)1 << shift, pages = slice >> ZONE_PAGE;
    void *bytes = at ? sys_map(NULL, pages * ZONE_SLICES, PROT_READ | PROT_WRITE) : NULL;
    if (at && !bytes) sys_unmap(at, slice * ZONE_SLICES);
    if (!bytes) return;
    heap_zone.shift = shift, heap_zone.bin = bytes, heap_zone.pages = pages;
    /* whoever reads a part of this has a pointer that is not in it: that of neither base is below length */
    __atomic_store_n(&heap_zone.base, (uintptr_t)at, __ATOMIC_RELEASE);
    __atomic_store_n(&heap_zone.length, slice * ZONE_SLICES, __ATOMIC_RELEASE);
}

bool heap_zone_slice(unsigned type, size_t wanted, uintptr_t *base, size_t *length) {
    if (!tried && wanted >= GIB) make(wanted);
    tried = true;
    unsigned slice = type == HEAP_LIVES ? ZONE_SLICES - 1 : type - 1;
    if (!heap_zone.length || type == TYPE_PARAMS || type >= HEAP_TYPES || given >> slice & 1) return false;
    given |= 1u << slice;
    *length = (size_t)1 << heap_zone.shift;
    *base = heap_zone.base + slice * *length;
    return true;
}

/* The slices that were not given out are gone, the tails of the others too; their bytes are anybody's memory from now on. */
void heap_zone_shrink(size_t longest) {
    size_t pages = (longest + 4095) >> ZONE_PAGE, slice = (size_t)1 << heap_zone.shift;
    if (!heap_zone.length) return;
    size_t keep = (pages * ZONE_SLICES + 4095) & -(size_t)4096, have = (heap_zone.pages * ZONE_SLICES + 4095) & -(size_t)4096;
    __atomic_store_n(&heap_zone.pages, pages, __ATOMIC_RELEASE);
    if (keep < have) sys_unmap((char *)heap_zone.bin + keep, have - keep);
    for (unsigned i = 0; i < ZONE_SLICES; i++)
        if (!(given >> i & 1)) sys_unmap((void *)(heap_zone.base + i * slice), slice), given |= 1u << i;
}
