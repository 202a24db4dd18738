/* reserve.c: the address space in which the heap lives; see heap.h for segments.
 *
 * jemalloc's calls of mmap, munmap, madvise and mprotect come here (jemalloc.syms). It keeps what it maps (retain), so
 * munmap is rare: the ends that it trims off an aligned block. Such a *hole* loses its memory and is remembered for the
 * next request that fits; the last piece below the top just lowers the top.
 *
 * A segment's size follows the limits in force, because untouched address space counts for RLIMIT_AS and for mlockall:
 * with RLIMIT_AS a 32nd of it; with memory locked 4 MiB or an eighth of what there is; else four times the machine's
 * memory, so that one segment is enough. errno belongs to the caller: mmap's errors are set, nothing else is. */
#include "base/lock.h"
#include "base/sys.h"
#include "heap/heap.h"
#include "heap/huge.h"
#include "heap/jemalloc.h"
#include "heap/reach.h"
#include "heap/shared.h"
#include "heap/thread.h"
#include "heap/zone.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
enum { SEGMENTS = 512, HOLES = 64 };
#define GRAIN (2 * MIB) /* huge pages and jemalloc's own alignment */

struct segment {
    uintptr_t base, top;         /* top: under the lock */
    _Atomic uintptr_t end;       /* read without the lock; only shrinks */
    unsigned type;               /* enum coppice_type: whose arenas are served from here */
};
struct hole { uintptr_t at; size_t length; };

struct heap_range heap_first;
static struct segment segments[SEGMENTS];
static _Atomic unsigned segment_count; /* entries below are complete */
static struct hole holes[HOLES];
static bool sparing;                   /* memory is locked or the address space limited: segments stay small */
static _Atomic size_t returned;
static struct lock reserve_lock = LOCK_INIT(RANK_HEAP);

static size_t round_up(size_t n, size_t to) { return (n + to - 1) & -to; }

/* A signal handler that forks while we hold the lock must know it. */
static void enter(void) { heap_thread.inside++, lock_take(&reserve_lock); }
static void leave(void) { lock_release(&reserve_lock), heap_thread.inside--; }

bool heap_owns(const void *p) {
    unsigned n = atomic_load_explicit(&segment_count, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if ((uintptr_t)p >= segments[i].base && (uintptr_t)p < atomic_load_explicit(&segments[i].end, memory_order_relaxed)) return true;
    return false;
}

int heap_lives_in(const void *p) {
    unsigned n = atomic_load_explicit(&segment_count, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if ((uintptr_t)p - segments[i].base < atomic_load_explicit(&segments[i].end, memory_order_relaxed) - segments[i].base) return (int)segments[i].type;
    return HEAP_FOREIGN;
}

size_t heap_reserved_bytes(void) {
    size_t sum = 0;
    for (unsigned i = 0; i < atomic_load(&segment_count); i++) sum += atomic_load(&segments[i].end) - segments[i].base;
    return sum;
}

size_t heap_returned_bytes(void) { return atomic_load(&returned); }

bool heap_segment(unsigned n, uintptr_t *base, uintptr_t *top) {
    if (n >= atomic_load_explicit(&segment_count, memory_order_acquire)) return false;
    *base = segments[n].base, *top = __atomic_load_n(&segments[n].top, __ATOMIC_RELAXED);
    return true;
}

/* --- segments */

static size_t limited_segment(size_t limit) {
    size_t part = round_up(limit / 32, GRAIN);
    return part < 4 * MIB ? 4 * MIB : part > GIB ? GIB : part;
}

static size_t machine_segment(void) {
    struct sysinfo machine;
    size_t memory = sysinfo(&machine) == 0 ? (size_t)machine.totalram * machine.mem_unit : 16 * GIB;
    size_t all = round_up(memory, GIB) * 4;
    return all < 16 * GIB ? 16 * GIB : all > 1024 * GIB ? 1024 * GIB : all;
}

static size_t wanted_segment(void) {
    static size_t last; /* for a process that may not ask any more */
    struct rlimit limit;
    if (sparing) return round_up(heap_reserved_bytes() / 8 < 4 * MIB ? 4 * MIB : heap_reserved_bytes() / 8, GRAIN);
    if (sys_is_shut_in()) return last;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return last = limited ? limited_segment(limit.rlim_cur) : machine_segment();
}

/* Address space without memory. Not MAP_NORESERVE: when a piece becomes writable the kernel shall say no to what it has not,
 * as it does to glibc's malloc. */
static void *reserve(void *at, size_t length, int fixed) {
    void *p = mmap(at, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Address space for a segment, as much of *wanted as there is; 0: not even `floor`. */
static uintptr_t address_space(size_t *wanted, size_t floor, unsigned type) {
    uintptr_t base;
    size_t slice;
    if (type && heap_zone_slice(type, *wanted, &base, &slice) && slice >= floor) {
        *wanted = slice;
        return base;
    }
    if (*wanted < floor) *wanted = floor;
    while (!(base = (uintptr_t)reserve(NULL, *wanted, 0))) {
        if (*wanted == floor) return 0;
        *wanted = *wanted / 2 < floor ? floor : round_up(*wanted / 2, 4096);
    }
    return base;
}

/* A new segment of at least `least` bytes, smaller than wanted where the system refuses. */
static struct segment *add_segment(size_t least, unsigned type) {
    unsigned n = atomic_load(&segment_count);
    size_t wanted = round_up(wanted_segment() / (type ? 4 : 1), GRAIN), floor = round_up(least, GRAIN) + GRAIN;
    uintptr_t at = n == SEGMENTS || floor < least ? 0 : address_space(&wanted, floor, type);
    if (!at) return NULL;
    struct segment *s = &segments[n];
    s->base = at;
    s->top = round_up(s->base, GRAIN);
    heap_huge_segment((void *)at, wanted);
    s->type = type;
    atomic_store(&s->end, s->base + wanted);
    if (n == 0) heap_first = (struct heap_range){ s->base, wanted };
    atomic_store_explicit(&segment_count, n + 1, memory_order_release);
    return s;
}

bool heap_reserve_init(void) {
    int saved = errno;
    enter();
    bool ok = add_segment(4 * MIB, 0) != NULL;
    leave();
    errno = saved;
    return ok;
}

void heap_release_tail(void) {
    size_t longest = 0; /* of the zone's slices */
    enter();
    for (unsigned i = 0; i < atomic_load(&segment_count); i++) {
        struct segment *s = &segments[i];
        uintptr_t end = atomic_load(&s->end), keep = round_up(s->top, 65536);
        if (s->base - heap_zone.base < heap_zone.length && keep - s->base > longest) longest = keep - s->base;
        if (keep >= end || sys_unmap((void *)keep, end - keep) != 0) continue;
        atomic_store(&s->end, keep);
        if (i == 0) heap_first.length = keep - s->base;
    }
    heap_zone_shrink(longest);
    sparing = true;
    leave();
}

/* --- pieces */

static uintptr_t from_hole(size_t length) {
    for (struct hole *h = holes; h < holes + HOLES; h++) {
        if (h->length < length || (length >= GRAIN && h->at % GRAIN != 0)) continue;
        uintptr_t at = h->at;
        h->at += length, h->length -= length;
        return at;
    }
    return 0;
}

static uintptr_t from_segment(struct segment *s, size_t length, size_t alignment) {
    if (length >= GRAIN && alignment < GRAIN) alignment = GRAIN;
    uintptr_t at = round_up(s->top, alignment), end = atomic_load(&s->end);
    if (at < s->top || at > end || end - at < length) return 0;
    s->top = at + length;
    return at;
}

static uintptr_t take_piece(size_t length, size_t alignment, unsigned type) {
    uintptr_t at = type ? 0 : from_hole(length);
    for (unsigned i = atomic_load(&segment_count); !at && i > 0; i--)
        if (segments[i - 1].type == type) at = from_segment(&segments[i - 1], length, alignment);
    if (at || length + alignment < length) return at;
    struct segment *s = add_segment(length + alignment, type);
    return s ? from_segment(s, length, alignment) : 0;
}

static void return_piece(uintptr_t at, size_t length) {
    for (unsigned i = 0; i < atomic_load(&segment_count); i++)
        if (at >= segments[i].base && at + length == segments[i].top) {
            segments[i].top = at;
            return;
        }
    for (struct hole *h = holes; h < holes + HOLES; h++)
        if (h->length == 0) {
            *h = (struct hole){ at, length };
            return;
        }
    /* no room to remember it: it stays address space without memory */
}

/* --- what jemalloc calls */

/* A piece that is writable, or not at all where the protection says so; 0: none. */
static uintptr_t take_protected(size_t length, size_t alignment, unsigned type, int protection) {
    enter();
    uintptr_t at = take_piece(length, alignment, type);
    if (at && protection != PROT_NONE && sys_protect((void *)at, length, protection) != 0) return_piece(at, length), at = 0;
    leave();
    return at;
}

void *heap_reserve_piece(size_t length, size_t alignment, unsigned type) {
    return (void *)take_protected(length, alignment, type, PROT_READ | PROT_WRITE);
}

void *heap_mmap(void *hint, size_t length, int protection, int flags, int fd, off_t offset) {
    if (flags & MAP_FIXED) return mmap(hint, length, protection, flags, fd, offset);
    uintptr_t at = hint ? 0 : take_protected(length, 1, 0, protection);
    if (at) return (void *)at;
    errno = ENOMEM;
    return MAP_FAILED;
}

int heap_munmap(void *at, size_t length) {
    int saved = errno;
    enter();
    reach_wait();
    heap_unshare(at, length); /* forgets the marks */
    if (reserve(at, length, MAP_FIXED)) return_piece((uintptr_t)at, length);
    reach_go_on();
    leave();
    errno = saved;
    return 0;
}

int heap_madvise(void *at, size_t length, int advice) {
    int saved = errno;
    heap_thread.inside++, reach_wait();
    bool gone = (advice == MADV_DONTNEED || advice == MADV_FREE) && heap_unshare(at, length);
    int result = gone ? 0 : madvise(at, length, advice);
    reach_go_on(), heap_thread.inside--;
    if (result == 0 && advice == MADV_DONTNEED) atomic_fetch_add_explicit(&returned, length, memory_order_relaxed);
    errno = saved;
    return result;
}

int heap_mprotect(void *at, size_t length, int protection) { return mprotect(at, length, protection); }

void *heap_no_sbrk(intptr_t change) {
    errno = ENOMEM;
    return (void *)-1;
}

void heap_reserve_fork_prepare(void) { lock_take(&reserve_lock); }
void heap_reserve_fork_done(void) { lock_release(&reserve_lock); }
