/* structs.c: see structs.h. What describes a slab stands at its start, in its first page; a pool in the table here. */
#include "heap/structs.h"
#include "base/lock.h"
#include "heap/heap.h"
#include "heap/jemalloc.h"
#include "heap/thread.h"
#include "heap/typed.h"
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, POOLS = COUNTER_PARAMS, TABLE = 4 * POOLS };

struct slab {
    struct slab *made_before;        /* of all slabs; written once */
    struct slab *next, *before;      /* of its pool's that have room; or the next spare one */
    uint32_t pool, first, places;    /* offset of the first block, and how many blocks there are */
    uint32_t live, used;             /* blocks that are taken; places [0, used) have been taken once */
    uint64_t taken[STRUCTS_WORDS];   /* a bit a place */
};
static struct pool {
    uint32_t size, stride;
    uint16_t site;
    uint64_t live, slabs;            /* blocks, and slabs that hold some: a fork's child has them too, its counters begin at zero */
    struct slab *room;
} pools[POOLS];
static uint16_t table[TABLE];        /* 1 + pool, by site and size */
static unsigned pool_count;
static struct slab *slabs, *spare; /* all; and those that are empty */
static _Atomic size_t held;
static struct lock lock = LOCK_INIT(RANK_SITES);

/* A signal handler that forks while we hold the lock must know it. */
static void enter(void) { heap_thread.inside++, lock_take(&lock); }
static void leave(void) { lock_release(&lock), heap_thread.inside--; }

static struct slab *slab_of(const void *p) { return (struct slab *)((uintptr_t)p & -(uintptr_t)STRUCTS_SLAB); }
static uint32_t place_of(const struct slab *s, const void *p) { return (uint32_t)((uintptr_t)p - (uintptr_t)s - s->first) / pools[s->pool].stride; }
static void *block_at(struct slab *s, uint32_t place) { return (char *)s + s->first + (size_t)place * pools[s->pool].stride; }

/* --- pools */

static struct pool *make_pool(uint16_t site, uint32_t size) {
    if (pool_count == POOLS) return NULL;
    struct pool *p = &pools[pool_count++];
    *p = (struct pool){ .size = size, .stride = (size + 15) & ~15u, .site = site };
    return p;
}

static struct pool *pool_for(uint16_t site, uint32_t size) {
    uint32_t i = (site * 1025u + size) * 0x9e3779b1u >> 16;
    for (;; i++) {
        uint16_t *slot = &table[i % TABLE];
        if (*slot == 0) {
            struct pool *made = make_pool(site, size);
            if (made) *slot = (uint16_t)pool_count;
            return made;
        }
        struct pool *p = &pools[*slot - 1];
        if (p->site == site && p->size == size) return p;
    }
}

static void add_room(struct slab *s) {
    struct pool *p = &pools[s->pool];
    s->before = NULL, s->next = p->room;
    if (p->room) p->room->before = s;
    p->room = s;
}

static void remove_room(struct slab *s) {
    if (s->before) s->before->next = s->next;
    else pools[s->pool].room = s->next;
    if (s->next) s->next->before = s->before;
}

/* --- slabs */

static struct slab *fresh_slab(void) {
    struct slab *s = spare;
    if (s) {
        spare = s->next;
        return s;
    }
    s = heap_reserve_piece(STRUCTS_SLAB, STRUCTS_SLAB, TYPE_PARAMS);
    if (s) s->made_before = slabs, slabs = s;
    return s;
}

static struct slab *add_slab(struct pool *p) {
    struct slab *s = fresh_slab();
    if (!s) return NULL;
    s->pool = (uint32_t)(p - pools), s->first = (sizeof *s + 63) & ~63u, s->places = (STRUCTS_SLAB - s->first) / p->stride;
    s->live = s->used = 0;
    add_room(s), p->slabs++;
    atomic_fetch_add(&held, STRUCTS_SLAB);
    return s;
}

/* Its first page stays, for it says that the slab is spare. */
static void drop_slab(struct slab *s) {
    remove_room(s), pools[s->pool].slabs--;
    atomic_fetch_sub(&held, STRUCTS_SLAB);
    heap_madvise((char *)s + PAGE, STRUCTS_SLAB - PAGE, MADV_DONTNEED);
    s->places = 0, s->next = spare, spare = s;
}

/* The lowest place that was taken once and is free; there is one. */
static uint32_t lowest_free(const struct slab *s) {
    unsigned word = 0;
    while (s->taken[word] == UINT64_MAX) word++;
    return word * 64 + (uint32_t)__builtin_ctzll(~s->taken[word]);
}

static void tell(const struct pool *p) {
    struct params_counters *n = &counters->params[p - pools];
    counter_set(&n->live_objects, p->live), counter_set(&n->held_bytes, p->slabs * STRUCTS_SLAB);
    if (unlikely(counter_get(&n->size) == 0)) counter_set(&n->site, p->site), counter_set(&n->size, p->size);
}

static void *take(struct pool *p, struct slab *s) {
    bool again = s->live < s->used;
    uint32_t place = again ? lowest_free(s) : s->used++;
    s->taken[place / 64] |= 1ull << place % 64;
    if (++s->live == s->places) remove_room(s);
    struct params_counters *n = &counters->params[p - pools];
    counter_bump(&n->allocs, 1), counter_bump(&n->reused, again), p->live++, tell(p);
    return block_at(s, place);
}

/* False: it was freed already, and the program is in error. */
static bool put_back(struct pool *p, struct slab *s, uint32_t place) {
    if (place >= s->places || !(s->taken[place / 64] >> place % 64 & 1)) return false;
    s->taken[place / 64] &= ~(1ull << place % 64);
    if (s->live-- == s->places) add_room(s);
    if (s->live == 0 && (s->next || s->before)) drop_slab(s);
    p->live--, tell(p);
    return true;
}

/* --- what the heap calls */

void *structs_alloc(struct kind kind, size_t size, int flags) {
    if (size - 1 >= STRUCTS_MOST || (flags & 63) > 4 || !kind.site) return NULL;
    enter();
    struct pool *p = pool_for(kind.site, (uint32_t)size);
    struct slab *s = p && p->room ? p->room : p ? add_slab(p) : NULL;
    void *block = s ? take(p, s) : NULL;
    leave();
    if (!block) return NULL;
    heap_thread.kept_taken += p->stride;
    counter_add(&site_counters_of(kind)->allocs, 1), counter_add(&site_counters_of(kind)->bytes, size);
    return flags & TYPED_ZERO ? memset(block, 0, size) : block;
}

void structs_free(void *block) {
    struct slab *s = slab_of(block);
    enter();
    struct pool *p = &pools[s->pool];
    if (put_back(p, s, place_of(s, block))) heap_thread.kept_given += p->stride;
    leave();
}

size_t structs_usable(const void *p) { return pools[slab_of(p)->pool].stride; }
size_t structs_held(void) { return atomic_load_explicit(&held, memory_order_relaxed); }

const void *structs_slab(const void *slab, struct structs_view *view) {
    enter();
    const struct slab *s = slab ? ((const struct slab *)slab)->made_before : slabs;
    if (s) {
        const struct pool *p = &pools[s->pool];
        *view = (struct structs_view){ .pool = s->pool, .first = (uintptr_t)s + s->first, .size = p->size, .stride = p->stride, .places = s->places };
        memcpy(view->live, s->taken, sizeof view->live);
    }
    leave();
    return s;
}

void structs_fork_prepare(void) { lock_take(&lock); }
void structs_fork_done(void) { lock_release(&lock); }
