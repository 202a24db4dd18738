/* packed.c: see packed.h. A block begins 8 bytes before what the program sees: its size, a multiple of 16, and two marks. The last word
 * of a free block is its size again, so that the next one finds its start. An area ends with a header of size 0 that is never free. */
#include "heap/packed.h"
#include "base/lock.h"
#include "base/options.h"
#include "heap/hand.h"
#include "heap/heap.h"
#include "heap/jemalloc.h"
#include "heap/typed.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { FREE = 1, BEFORE_FREE = 2, CLEAN = 4 /* its whole pages have gone */, OLD = 8 /* it was free when we looked last */, MARKS = 15 };
#define DECAY_NS 2000000000u /* as jemalloc's (heap.c) */
enum { HEAD = 8, LEAST = 32, AREA = 4 << 20, PAGE = 4096, EXACT = 64, STEPS = 32, BINS = EXACT + 16 * STEPS, TRIES = 16, DECAY_LEAST = 32 << 10, CROWD = 200, CROWDED_LOOKS = 5 };

struct block {
    size_t head;                /* size and marks */
    struct block *next, *before; /* in its bin, while it is free */
};

_Atomic bool packed_on;
struct heap_range packed_first;
static struct block *bins[BINS];
static uint64_t filled[BINS / 64 + 1];
static char *area_end;          /* where the newest area ends, just behind its last header */
static size_t taken, gone;      /* bytes of areas; of those, in pages that went back and lie in free blocks */

static size_t size_of(const struct block *b) { return b->head & ~(size_t)MARKS; }
static struct block *after(const struct block *b) { return (struct block *)((uintptr_t)b + size_of(b)); }
static struct block *block_of(const void *p) { return (struct block *)((uintptr_t)p - HEAD); }
static void *user(struct block *b) { return (char *)b + HEAD; }
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

/* The smallest of the first few that is large enough; below 1 KiB all of a bin are of one size. */
static struct block *fitting(unsigned bin, size_t size) {
    struct block *best = NULL;
    unsigned tries = 0;
    if (bin < EXACT) return bins[bin];
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

/* Free, and one with its free neighbours. */
static void give_back(struct block *b) {
    size_t size = size_of(b);
    struct block *next = after(b);
    b->head |= FREE; /* if it is freed once more, that shows */
    if (next->head & FREE) unhang(next), size += size_of(next);
    if (b->head & BEFORE_FREE) {
        b = (struct block *)((uintptr_t)b - *(size_t *)((uintptr_t)b - sizeof(size_t)));
        unhang(b);
        size += size_of(b);
    }
    hang(b, size, 0);
}

/* --- the lock
 * Nobody who allocates or frees waits for it: jemalloc serves the one, and what the other gives back is left for whoever has the lock next. */

static struct lock lock = LOCK_INIT(RANK_PACKED);
static _Atomic(void *) waiting;   /* blocks that were left, each with the next in its first word */
static _Atomic uint32_t crowded;  /* how often another thread had it, since packed_consider looked */

static void give_back_waiting(void) {
    void *p = atomic_load_explicit(&waiting, memory_order_relaxed) ? atomic_exchange_explicit(&waiting, NULL, memory_order_acquire) : NULL;
    for (void *next; p; p = next) next = *(void **)p, give_back(block_of(p));
}

/* A signal handler that forks while we hold the lock must know it: `inside` counts first. */
static void enter(void) { heap_thread.inside++, lock_take(&lock), give_back_waiting(); }
static void leave(void) { lock_release(&lock), heap_thread.inside--; }
static bool try_enter(void) {
    heap_thread.inside++;
    if (likely(lock_try(&lock))) return give_back_waiting(), true;
    heap_thread.inside--;
    atomic_fetch_add_explicit(&crowded, 1, memory_order_relaxed);
    return false;
}

static void leave_for_others(void *const *p, unsigned count) {
    void *top = atomic_load_explicit(&waiting, memory_order_relaxed);
    for (unsigned i = 1; i < count; i++) *(void **)p[i] = p[i - 1];
    do *(void **)p[0] = top;
    while (!atomic_compare_exchange_weak_explicit(&waiting, &top, p[count - 1], memory_order_release, memory_order_relaxed));
}

/* The memory that give_back will look at comes for several blocks at once, not for one after another. */
static void look_ahead(void *const *p, unsigned count) {
    for (unsigned i = 0; i < count; i++) __builtin_prefetch(after(block_of(p[i])), 1);
    for (unsigned i = 0; i < count; i++) {
        const struct block *b = block_of(p[i]), *next = after(b);
        if (next->head & FREE) __builtin_prefetch(next->next, 1), __builtin_prefetch(next->before, 1);
        if (b->head & BEFORE_FREE) __builtin_prefetch((char *)b - *(size_t *)((uintptr_t)b - sizeof(size_t)), 1);
    }
}

void packed_take_back(void *const *p, unsigned count) {
    if (count == 0) return;
    if (unlikely(!try_enter())) return leave_for_others(p, count);
    look_ahead(p, count);
    for (unsigned i = 0; i < count; i++) give_back(block_of(p[i]));
    leave();
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
    if (!packed_first.length) packed_first.base = (uintptr_t)at;
    if ((uintptr_t)at == packed_first.base + packed_first.length) __atomic_store_n(&packed_first.length, packed_first.length + AREA, __ATOMIC_RELEASE);
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

/* NULL: no memory, or another thread is here. */
static struct block *take(size_t bytes) {
    if (unlikely(!try_enter())) return NULL;
    struct block *b = smallest(bytes);
    if (!b && (b = grow()) && size_of(b) < bytes) b = NULL;
    if (b) {
        unhang(b);
        b->head = size_of(b);
        cut(b, bytes);
    }
    leave();
    return b;
}

void *packed_alloc_fitting(size_t size, int flags) {
    size_t bytes = needed(size);
    if (unlikely((flags & 63) > 4)) return NULL;
    void *p = hand_take(bytes);
    if (unlikely(!p)) {
        struct block *b = take(bytes);
        if (!b) return NULL;
        p = user(b);
    }
    heap_thread.kept_taken += size_of(block_of(p));
    return flags & TYPED_ZERO ? memset(p, 0, size) : p;
}

void packed_free(void *p) {
    struct block *b = block_of(p);
    size_t bytes = size_of(b);
    if (unlikely(!bytes || b->head & FREE || hand_holds(p, bytes))) return; /* it was freed already, and the program is in error */
    heap_thread.kept_given += bytes;
    if (unlikely(!hand_give(p, bytes))) packed_take_back(&p, 1);
}

size_t packed_usable(const void *p) { return size_of(block_of(p)) - HEAD; }

bool packed_resize(void *p, size_t size) {
    struct block *b = block_of(p);
    size_t bytes = needed(size), had = size_of(b);
    if (bytes == had) return true;
    if (size > PACKED_MOST || (bytes < had / 2 && had > 1024) || !try_enter()) return false;
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
    if (!taken) return;
    enter();
    for (unsigned bin = bin_of(PAGE + LEAST); bin < BINS; bin++)
        for (struct block *b = bins[bin]; b; b = b->next) release(b);
    leave();
}

/* Two looks lie DECAY_NS and more apart. A few pages are not worth the call and the faults. */
void packed_decay(uint64_t now_ns) {
    static _Atomic uint64_t last;
    uint64_t then = atomic_load_explicit(&last, memory_order_relaxed);
    if (!taken || now_ns - then < DECAY_NS || !atomic_compare_exchange_strong(&last, &then, now_ns) || !try_enter()) return;
    for (unsigned bin = bin_of(DECAY_LEAST); bin < BINS; bin++)
        for (struct block *b = bins[bin]; b; b = b->next)
            if (b->head & OLD) release(b);
            else b->head |= OLD;
    leave();
}

size_t packed_held(void) { return __atomic_load_n(&taken, __ATOMIC_RELAXED) - __atomic_load_n(&gone, __ATOMIC_RELAXED); }

void packed_begin(void) { packed_on = option_number(pack) == PACK_ALWAYS; }

/* One look may be crowded because the one thread that had the lock lost its processor. */
void packed_consider(size_t small) {
    static _Atomic unsigned crowded_looks; /* in a row */
    /* a profile of contents (intern/observe.h) is of blocks that jemalloc has placed */
    if (option_number(pack) != PACK_AUTO || option_number(intern) == INTERN_OBSERVE || crowded_looks >= CROWDED_LOOKS) return;
    crowded_looks = atomic_exchange_explicit(&crowded, 0, memory_order_relaxed) >= CROWD ? crowded_looks + 1 : 0;
    packed_on = crowded_looks < CROWDED_LOOKS && (packed_on || small >= PACKED_FROM);
}

void packed_fork_prepare(void) { lock_take(&lock); }
void packed_fork_done(void) { lock_release(&lock); }
