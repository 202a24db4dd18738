/* arena.c: physical memory of one device in one process: a sparse file, handed out in 2 MiB pages; small blocks come from
 * slabs. Taken memory reads as zero. Given-back memory that was written is *stained*: small slots are overwritten with poison,
 * pages are emptied and get poison at their start; stains are washed when the memory is taken again. The kernel commits
 * memory only where something was written. */
#define _GNU_SOURCE
#include "space.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POISON = 0xdb, POISON_HEAD = 4096, MAX_SLOTS = PAGE / GRAIN };

CUresult arena_init(struct device *d, CUdeviceptr base, size_t size, int fd, u64 inode) {
    struct arena *a = calloc(1, sizeof *a);
    *a = (struct arena){ .device = d, .fd = fd, .inode = inode, .base = base, .pages = size / PAGE };
    a->words = (a->pages + 63) / 64;
    a->used = calloc(a->words, sizeof *a->used);
    a->stained = calloc(a->words, sizeof *a->stained);
    for (size_t p = a->pages; p < a->words * 64; p++) a->used[p / 64] |= 1ull << p % 64;
    d->arena = a;
    return CUDA_SUCCESS;
}

static inline bool bit(const u64 *set, size_t i) { return set[i / 64] >> i % 64 & 1; }

static void empty(struct arena *a, size_t page, size_t pages) {
    fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * PAGE), (off_t)(pages * PAGE));
}

static void wash(struct arena *a, size_t first, size_t pages) {
    for (size_t p = first; p < first + pages; p++) {
        if (!bit(a->stained, p)) continue;
        empty(a, p, 1);
        a->stained[p / 64] &= ~(1ull << p % 64);
    }
}

/* The first run of free pages from the hint on; wraps around once. */
static size_t find_run(struct arena *a, size_t pages) {
    for (int pass = 0; pass < 2; pass++) {
        size_t run = 0;
        for (size_t p = pass ? 0 : a->hint; p < a->pages;) {
            if (p % 64 == 0 && a->used[p / 64] == ~0ull) {
                run = 0;
                p += 64;
                continue;
            }
            run = bit(a->used, p) ? 0 : run + 1;
            p++;
            if (run == pages) return p - pages;
        }
    }
    return (size_t)-1;
}

CUdeviceptr arena_take(struct arena *a, size_t pages) {
    size_t first = find_run(a, pages);
    if (first == (size_t)-1) return 0;
    for (size_t p = first; p < first + pages; p++) a->used[p / 64] |= 1ull << p % 64;
    if (a->hint == first) a->hint = first + pages < a->pages ? first + pages : 0;
    wash(a, first, pages);
    return a->base + first * PAGE;
}

void arena_give(struct arena *a, CUdeviceptr base, size_t pages, bool dirty) {
    size_t first = (base - a->base) / PAGE;
    for (size_t p = first; p < first + pages; p++) a->used[p / 64] &= ~(1ull << p % 64);
    a->hint = MIN(a->hint, first);
    if (!dirty) return;
    off_t data = lseek(a->fd, (off_t)(first * PAGE), SEEK_DATA), end = (off_t)((first + pages) * PAGE);
    size_t touched[64], count = 0;
    while (data >= 0 && data < end && count < COUNT_OF(touched)) {
        touched[count++] = (size_t)data / PAGE;
        data = lseek(a->fd, (off_t)(((size_t)data / PAGE + 1) * PAGE), SEEK_DATA);
    }
    empty(a, first, pages);
    for (size_t i = 0; opt.poison && i < count; i++) {
        memset(alias(a->base + touched[i] * PAGE), POISON, POISON_HEAD);
        a->stained[touched[i] / 64] |= 1ull << touched[i] % 64;
    }
}

/* ---- slabs */
struct slab {
    struct slab *next, *prev;            /* among the partial ones of its class */
    struct arena *arena;
    CUdeviceptr base;
    size_t slot;
    unsigned count, taken, size_class, hint;
    bool listed;
    u64 used[MAX_SLOTS / 64], stained[MAX_SLOTS / 64];
    struct block *block[];
};

/* Four classes a doubling, all multiples of 512 B. */
static unsigned class_of(size_t size, size_t *slot) {
    size_t n = (size + GRAIN - 1) / GRAIN;
    if (n <= 8) {
        *slot = n * GRAIN;
        return (unsigned)n;
    }
    unsigned shift = (unsigned)(63 - __builtin_clzl(n - 1)) - 2;     /* n-1 has its top three bits above shift */
    size_t up = ((n - 1) >> shift) + 1;
    *slot = (up << shift) * GRAIN;
    return 8 + shift * 4 + (unsigned)(up - 4);
}

static void slab_list(struct slab *s) {
    struct slab **head = &s->arena->partial[s->size_class];
    s->next = *head;
    s->prev = NULL;
    if (*head) (*head)->prev = s;
    *head = s;
    s->listed = true;
}

static void slab_unlist(struct slab *s) {
    if (s->prev) s->prev->next = s->next;
    else s->arena->partial[s->size_class] = s->next;
    if (s->next) s->next->prev = s->prev;
    s->listed = false;
}

static struct slab *slab_new(struct arena *a, unsigned size_class, size_t slot) {
    CUdeviceptr base = arena_take(a, 1);
    if (!base) return NULL;
    unsigned count = (unsigned)(PAGE / slot);
    struct slab *s = calloc(1, sizeof *s + sizeof(struct block *) * count);
    s->arena = a;
    s->base = base;
    s->slot = slot;
    s->count = count;
    s->size_class = size_class;
    for (unsigned i = count; i < MAX_SLOTS; i++) s->used[i / 64] |= 1ull << i % 64;
    space_set_page(base, (uintptr_t)s | 1);
    slab_list(s);
    return s;
}

bool arena_take_small(struct arena *a, size_t size, struct block *b) {
    size_t slot;
    unsigned size_class = class_of(size, &slot);
    struct slab *s = a->partial[size_class];
    if (!s) s = slab_new(a, size_class, slot);
    if (!s) return false;
    unsigned w = s->hint;
    while (s->used[w] == ~0ull) w++;
    unsigned i = w * 64 + (unsigned)__builtin_ctzll(~s->used[w]);
    s->hint = w;
    s->used[w] |= 1ull << i % 64;
    s->block[i] = b;
    if (++s->taken == s->count) slab_unlist(s);
    b->base = s->base + i * slot;
    b->span = slot;
    if (bit(s->stained, i)) {
        memset(alias(b->base), 0, slot);
        s->stained[w] &= ~(1ull << i % 64);
    }
    return true;
}

static struct slab *slab_at(uintptr_t entry) { return (struct slab *)(entry & ~(uintptr_t)1); }

struct block *slab_find(uintptr_t entry, CUdeviceptr p) {
    struct slab *s = slab_at(entry);
    size_t i = (p - s->base) / s->slot;
    struct block *b = i < s->count ? s->block[i] : NULL;
    return b && p < b->base + b->extent ? b : NULL;
}



/* An empty slab stays while it is the only one of its class, so that a pair of calls does not make and break it. */
void arena_give_small(struct block *b) {
    struct slab *s = slab_at(space_page(b->base));
    unsigned i = (unsigned)((b->base - s->base) / s->slot);
    s->block[i] = NULL;
    s->used[i / 64] &= ~(1ull << i % 64);
    s->hint = MIN(s->hint, i / 64);
    if (b->dirty) {
        if (opt.poison) memset(alias(b->base), POISON, s->slot);
        s->stained[i / 64] |= 1ull << i % 64;
    }
    if (!s->listed) slab_list(s);
    if (--s->taken == 0 && (s->next || s->prev)) {
        slab_unlist(s);
        space_set_page(s->base, 0);
        bool stained = false;
        for (unsigned w = 0; w < MAX_SLOTS / 64; w++) stained |= s->stained[w] != 0;
        arena_give(s->arena, s->base, 1, stained);
        free(s);
    }
}
