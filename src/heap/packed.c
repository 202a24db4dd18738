/* packed.c: see packed.h. A block begins 8 bytes before what the program sees: its size, a multiple of 16, and two marks. The last word
 * of a free block is its size again, so that the next one finds its start. An area ends with a header of size 0 that is never free. */
#include "heap/packed.h"
#include "base/lock.h"
#include "base/options.h"
#include "heap/heap.h"
#include "heap/jemalloc.h"
#include "heap/typed.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { FREE = 1, BEFORE_FREE = 2, CLEAN = 4 /* its whole pages have gone */, MARKS = 15 };
enum { HEAD = 8, LEAST = 32, AREA = 4 << 20, PAGE = 4096, EXACT = 64, STEPS = 32, BINS = EXACT + 16 * STEPS, TRIES = 16 };

struct block {
    size_t head;                /* size and marks */
    struct block *next, *before; /* in its bin, while it is free */
};

bool packed_on;
static struct lock lock = LOCK_INIT(RANK_PACKED);
static struct block *bins[BINS];
static uint64_t filled[BINS / 64 + 1];
static char *area_end;          /* where the newest area ends, just behind its last header */
static size_t taken, gone;      /* bytes of areas; of those, in pages that went back and lie in free blocks */

/* A signal handler that forks while we hold the lock must know it. */
static void enter(void) { heap_thread.inside++, lock_take(&lock); }
static void leave(void) { lock_release(&lock), heap_thread.inside--; }

static size_t size_of(const struct block *b) { return b->head & ~(size_t)MARKS; }
static struct block *after(const struct block *b) { return (struct block *)((uintptr_t)b + size_of(b)); }
static struct block *block_of(const void *p) { return (struct block *)((uintptr_t)p - HEAD); }
static size_t *foot(const struct block *b) { return (size_t *)((uintptr_t)after(b) - sizeof(size_t)); }

static unsigned bin_of(size_t size) {
    if (size < EXACT * 16) return (unsigned)(size / 16);
    unsigned power = 63 - (unsigned)__builtin_clzl(size);
    unsigned bin = EXACT + (power - 10) * STEPS + (unsigned)(size >> (power - 5)) % STEPS;
    return bin < BINS ? bin : BINS - 1;
}

/* --- free blocks */

/* Whole pages inside a free block, without the words that say what it is. */
static size_t inside(const struct block *b, uintptr_t *first) {
    uintptr_t from = ((uintptr_t)(b + 1) + PAGE - 1) & -(uintptr_t)PAGE, to = (uintptr_t)foot(b) & -(uintptr_t)PAGE;
    *first = from;
    return to > from ? to - from : 0;
}

static void hang(struct block *b, size_t size, size_t marks) {
    unsigned bin = bin_of(size);
    b->head = size | FREE | marks;
    *foot(b) = size, after(b)->head |= BEFORE_FREE;
    b->before = NULL, b->next = bins[bin];
    if (b->next) b->next->before = b;
    bins[bin] = b, filled[bin / 64] |= 1ull << bin % 64;
}

static void unhang(struct block *b) {
    unsigned bin = bin_of(size_of(b));
    uintptr_t first;
    if (b->head & CLEAN) gone -= inside(b, &first);
    if (b->before) b->before->next = b->next;
    else if (!(bins[bin] = b->next)) filled[bin / 64] &= ~(1ull << bin % 64);
    if (b->next) b->next->before = b->before;
    after(b)->head &= ~(size_t)BEFORE_FREE;
}

/* The smallest of the first few that is large enough. */
static struct block *fitting(unsigned bin, size_t size) {
    struct block *best = NULL;
    unsigned tries = 0;
    for (struct block *b = bins[bin]; b && tries < TRIES; b = b->next, tries++)
        if (size_of(b) >= size && (!best || size_of(b) < size_of(best))) best = b;
    return best;
}

static struct block *smallest(size_t size) {
    unsigned bin = bin_of(size);
    struct block *b = fitting(bin, size);
    if (b || ++bin >= BINS) return b;
    uint64_t word = filled[bin / 64] >> bin % 64 << bin % 64;
    for (unsigned w = bin / 64; w <= (BINS - 1) / 64; word = ++w <= (BINS - 1) / 64 ? filled[w] : 0)
        if (word) return fitting(w * 64 + (unsigned)__builtin_ctzll(word), size);
    return NULL;
}

/* What a live block does not need becomes free, together with a free block behind it. */
static void cut(struct block *b, size_t size) {
    size_t left = size_of(b) - size;
    if (left < LEAST) return;
    b->head = size | (b->head & BEFORE_FREE);
    struct block *rest = after(b), *next = (struct block *)((uintptr_t)rest + left);
    if (next->head & FREE) unhang(next), left += size_of(next);
    hang(rest, left, 0);
}

/* --- areas */

/* More memory, as one free block. It often begins where the last area ends, and is one with it then. */
static struct block *grow(void) {
    char *at = heap_reserve_piece(AREA, PAGE, TYPE_PACKED);
    if (!at) return NULL;
    bool goes_on = at == area_end;
    struct block *b = (struct block *)(goes_on ? at - HEAD : at + HEAD);
    size_t before = goes_on ? b->head & BEFORE_FREE : 0, size = (size_t)(at + AREA - HEAD - (char *)b);
    ((struct block *)(at + AREA - HEAD))->head = 0;
    area_end = at + AREA, taken += AREA;
    b->head = size;
    if (before) {
        struct block *earlier = (struct block *)((uintptr_t)b - *(size_t *)((uintptr_t)b - sizeof(size_t)));
        unhang(earlier);
        size += size_of(earlier), b = earlier;
    }
    b->head = size;
    hang(b, size, 0);
    return b;
}

/* --- what the heap calls */

static size_t needed(size_t size) {
    size_t bytes = (size + HEAD + 15) & ~(size_t)15;
    return bytes < LEAST ? LEAST : bytes;
}

void *packed_alloc(size_t size, int flags) {
    if (size - PACKED_LEAST > PACKED_MOST - PACKED_LEAST || (flags & 63) > 4) return NULL;
    size_t bytes = needed(size);
    enter();
    struct block *b = smallest(bytes);
    if (!b && (b = grow()) && size_of(b) < bytes) b = NULL;
    if (b) {
        unhang(b);
        b->head = size_of(b);
        cut(b, bytes);
        bytes = size_of(b);
    }
    leave();
    if (!b) return NULL;
    heap_thread.kept_taken += bytes;
    void *p = (char *)b + HEAD;
    return flags & TYPED_ZERO ? memset(p, 0, size) : p;
}

void packed_free(void *p) {
    struct block *b = block_of(p);
    enter();
    size_t size = size_of(b);
    if (!(b->head & FREE)) { /* else it was freed already, and the program is in error */
        heap_thread.kept_given += size;
        struct block *next = after(b);
        if (next->head & FREE) unhang(next), size += size_of(next);
        if (b->head & BEFORE_FREE) {
            b = (struct block *)((uintptr_t)b - *(size_t *)((uintptr_t)b - sizeof(size_t)));
            unhang(b);
            size += size_of(b);
        }
        hang(b, size, 0);
    }
    leave();
}

size_t packed_usable(const void *p) { return size_of(block_of(p)) - HEAD; }

bool packed_resize(void *p, size_t size) {
    struct block *b = block_of(p);
    size_t bytes = needed(size), had = size_of(b);
    if (size > PACKED_MOST || (bytes < had / 2 && had > 1024)) return false;
    enter();
    struct block *next = after(b);
    if (bytes > had && next->head & FREE && had + size_of(next) >= bytes) unhang(next), b->head += size_of(next);
    bool fits = size_of(b) >= bytes;
    if (fits) {
        cut(b, bytes);
        heap_thread.kept_taken += size_of(b), heap_thread.kept_given += had;
    }
    leave();
    return fits;
}

static void release(struct block *b) {
    uintptr_t first;
    size_t bytes = inside(b, &first);
    if (b->head & CLEAN || !bytes || heap_madvise((void *)first, bytes, MADV_DONTNEED) != 0) return;
    b->head |= CLEAN, gone += bytes;
}

void packed_purge(void) {
    if (!packed_on) return;
    enter();
    for (unsigned bin = bin_of(PAGE + LEAST); bin < BINS; bin++)
        for (struct block *b = bins[bin]; b; b = b->next) release(b);
    leave();
}

size_t packed_held(void) { return __atomic_load_n(&taken, __ATOMIC_RELAXED) - __atomic_load_n(&gone, __ATOMIC_RELAXED); }

void packed_begin(void) { packed_on = option_number(pack); }
void packed_fork_prepare(void) { lock_take(&lock); }
void packed_fork_done(void) { lock_release(&lock); }
