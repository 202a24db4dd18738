/* typed.c: arenas and caches of types; see typed.h. */
#include "heap/typed.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "heap/huge.h"
#include "heap/jemalloc.h"
#include "heap/packed.h"
#include "heap/life.h"
#include "heap/structs.h"
#include <errno.h>
#include <sys/mman.h>

enum { CACHE_NONE = 1 << 8, HUGE_FROM = 2 << 20, POPULATE_MOST = 64 << 20 };
static inline int cache_flag(unsigned cache) { return (int)(cache + 2) << 8; }
static inline int arena_flag(unsigned arena) { return (int)(arena + 1) << 20; }

/* What a type's arena is like. decay: ms that freed pages are kept, -1 for ever. */
static const struct nature { int64_t decay; bool cached, huge, populated; } natures[HEAP_TYPES] = {
    [COPPICE_EPISODIC] = { .decay = 10000, .cached = true },
    [COPPICE_PROCEDURAL] = { .decay = 10000, .cached = true },
    [COPPICE_SEMANTIC] = { .decay = 500, .cached = true, .huge = true },
    [COPPICE_EMOTIONAL] = { .decay = -1, .cached = true, .huge = true, .populated = true },
    [HEAP_LIVES] = { .decay = 2000, .cached = true },
};

static _Atomic unsigned arenas[HEAP_TYPES]; /* 1 + index; 0: not made */
static struct lock making = LOCK_INIT(RANK_SITES);

/* --- where an arena's memory comes from: jemalloc 5's extent hooks */

struct extent_hooks;
typedef bool range_hook(struct extent_hooks *hooks, void *at, size_t size, size_t offset, size_t length, unsigned arena);
struct extent_hooks {
    void *(*alloc)(struct extent_hooks *hooks, void *hint, size_t size, size_t alignment, bool *zero, bool *commit, unsigned arena);
    bool (*dalloc)(struct extent_hooks *hooks, void *at, size_t size, bool committed, unsigned arena);
    void (*destroy)(struct extent_hooks *hooks, void *at, size_t size, bool committed, unsigned arena);
    range_hook *commit, *decommit, *purge_lazy, *purge_forced;
    bool (*split)(struct extent_hooks *hooks, void *at, size_t size, size_t a, size_t b, bool committed, unsigned arena);
    bool (*merge)(struct extent_hooks *hooks, void *a, size_t size_a, void *b, size_t size_b, bool committed, unsigned arena);
};
/* One a type, so that the hook's own address says which. */
static struct extent_hooks hooks[HEAP_TYPES];

static void prepare(enum coppice_type type, void *at, size_t size) {
    const struct nature *n = &natures[type];
    if (n->huge && heap_huge_allowed() && size >= HUGE_FROM) sys_advise(at, size, option_number(intern) == INTERN_PAGES && type == COPPICE_SEMANTIC ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    if (n->populated && size <= POPULATE_MOST) sys_populate(at, size);
}

static void *extent_alloc(struct extent_hooks *h, void *hint, size_t size, size_t alignment, bool *zero, bool *commit, unsigned arena) {
    enum coppice_type type = (enum coppice_type)(h - hooks);
    void *at = hint ? NULL : heap_reserve_piece(size, alignment, type);
    if (!at) return NULL;
    prepare(type, at, size);
    *zero = *commit = true;
    return at;
}
static bool extent_purge(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t length, unsigned arena) {
    return heap_madvise((char *)at + offset, length, MADV_DONTNEED) != 0;
}
static bool extent_split(struct extent_hooks *h, void *at, size_t size, size_t a, size_t b, bool committed, unsigned arena) { return false; }
/* What does not touch is never merged; segments have a gap between them. */
static bool extent_merge(struct extent_hooks *h, void *a, size_t size_a, void *b, size_t size_b, bool committed, unsigned arena) { return false; }

/* --- arenas */

static void set_decay(unsigned arena, const char *what, int64_t ms) {
    char name[48];
    struct text t = text_in(name, sizeof name);
    ssize_t value = (ssize_t)ms;
    text_add(&t, "arena."), text_u64(&t, arena), text_char(&t, '.'), text_add(&t, what);
    je_mallctl(name, NULL, NULL, &value, sizeof value);
}

static unsigned make_arena(enum coppice_type type) {
    unsigned arena = 0;
    size_t length = sizeof arena;
    struct extent_hooks *h = &hooks[type];
    *h = (struct extent_hooks){ .alloc = extent_alloc, .purge_forced = extent_purge, .split = extent_split, .merge = extent_merge };
    if (je_mallctl("arenas.create", &arena, &length, &h, sizeof h) != 0) return 0;
    set_decay(arena, "dirty_decay_ms", natures[type].decay);
    set_decay(arena, "muzzy_decay_ms", 0);
    return arena + 1;
}

static unsigned arena_of(enum coppice_type type) {
    unsigned arena = atomic_load_explicit(&arenas[type], memory_order_acquire);
    if (arena) return arena;
    lock_take(&making);
    arena = atomic_load(&arenas[type]);
    if (!arena) atomic_store_explicit(&arenas[type], arena = make_arena(type), memory_order_release);
    lock_release(&making);
    return arena;
}

static uint64_t arena_number(unsigned arena, const char *what) {
    char name[64];
    struct text t = text_in(name, sizeof name);
    size_t value = 0, length = sizeof value;
    text_add(&t, "stats.arenas."), text_u64(&t, arena), text_char(&t, '.'), text_add(&t, what);
    return je_mallctl(name, &value, &length, NULL, 0) == 0 ? value : 0;
}
uint64_t heap_typed_handed_out(enum coppice_type type) {
    unsigned arena = atomic_load(&arenas[type]);
    return arena ? arena_number(arena - 1, "small.allocated") + arena_number(arena - 1, "large.allocated") : 0;
}
bool heap_typed_keeps(unsigned arena) { return atomic_load(&arenas[COPPICE_EMOTIONAL]) == arena + 1; }
bool heap_typed_keeps_any(void) { return atomic_load(&arenas[COPPICE_EMOTIONAL]) != 0; }
void heap_typed_fork_child(void) { lock_reset(&making); }

/* --- threads */

/* Each class once for each step of the two tables that it spans. */
#define FOUR(class, steps) STEPS(class, steps), STEPS(class + 1, steps), STEPS(class + 2, steps), STEPS(class + 3, steps)
#define STEPS(class, steps) STEPS_##steps(class)
#define STEPS_2(class) class, class
#define STEPS_4(class) STEPS_2(class), STEPS_2(class)
#define STEPS_8(class) STEPS_4(class), STEPS_4(class)
#define STEPS_16(class) STEPS_8(class), STEPS_8(class)
const uint8_t small_class_below[129] = { 0, 0, 1, STEPS_2(2), STEPS_2(3), STEPS_2(4), STEPS_2(5), STEPS_2(6), STEPS_2(7), STEPS_2(8),
    FOUR(9, 4), FOUR(13, 8), FOUR(17, 16) };
const uint8_t small_class_above[65] = { [9] = STEPS_2(21), STEPS_2(22), STEPS_2(23), STEPS_2(24), FOUR(25, 4), FOUR(29, 8) };

size_t small_bytes(unsigned class) {
    if (class <= 8) return class ? class * 16 : 8;
    return (size_t)(5 + (class - 9) % 4) << (5 + (class - 9) / 4);
}

/* NULL: no memory. Small blocks are cached by jemalloc alone then. */
static COLD struct typed_small *make_bins(struct heap_thread *t) {
    struct typed_small *small = je_calloc(1, sizeof *small);
    if (!small) return NULL;
    t->kept_given += je_malloc_usable_size(small); /* it is not the program's */
    for (enum coppice_type type = COPPICE_EPISODIC; type < COPPICE_TYPES; type++)
        for (unsigned class = 0; class < SMALL_CLASSES; class++) {
            struct typed_bin *bin = &small->bin[small_bin(type, class)];
            bin->bytes = (uint32_t)small_bytes(class);
            bin->depth = bin->bytes > SMALL_LARGER ? SMALL_FEW : SMALL_DEPTH;
        }
    return small;
}

/* The flags with which this thread uses the type; 0: it cannot. */
static COLD int begin(struct heap_thread *t, enum coppice_type type) {
    unsigned arena = arena_of(type), cache = 0;
    size_t length = sizeof cache;
    if (!arena) return 0;
    int flags = arena_flag(arena - 1);
    if (natures[type].cached && t->state == THREAD_LIVE && je_mallctl("tcache.create", &cache, &length, NULL, 0) == 0)
        t->typed_cache[type] = (uint16_t)(cache + 1), flags |= cache_flag(cache);
    else flags |= CACHE_NONE;
    if (!t->typed_small && t->state == THREAD_LIVE) t->typed_small = make_bins(t);
    return t->typed_flags[type] = flags;
}

static inline int flags_of(struct heap_thread *t, enum coppice_type type) {
    return likely(t->typed_flags[type] != 0) ? t->typed_flags[type] : begin(t, type);
}

void heap_typed_thread_end(struct heap_thread *t) {
    heap_typed_flush(t);
    if (t->typed_small) t->kept_given -= je_malloc_usable_size(t->typed_small), je_free(t->typed_small), t->typed_small = NULL;
    for (unsigned type = COPPICE_EPISODIC; type < HEAP_TYPES; type++) {
        unsigned cache = t->typed_cache[type] - 1u;
        if (t->typed_cache[type]) je_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof cache);
        t->typed_cache[type] = 0, t->typed_flags[type] = 0;
    }
}

/* What jemalloc has given out: frees will want its bin. */
static void *noted(enum coppice_type type, void *p) {
    if (!p) return NULL;
    size_t usable = je_malloc_usable_size(p);
    heap_zone_note(p, usable <= SMALL_MOST && type != (enum coppice_type)HEAP_LIVES ? small_bin(type, small_class(usable)) : 0);
    return p;
}

struct kind heap_kind_slowly(struct known *k, size_t size, enum site_api api) {
    struct heap_thread *t = &heap_thread;
    struct kind kind = kind_of(t->caller, size, api, SITES_HOST);
    if (kind.kv) kind.type = HEAP_LIVES;
    if (!t->bias) return kind;
    k->span = site_band_end(size, &k->least) - k->least;
    k->kind = kind, k->caller = (uintptr_t)t->caller ^ t->salt;
    return kind;
}

/* A block of which all is known; NULL: this one is not. */
static void *known(struct kind kind, size_t size, int flags) {
    int own = flags_of(&heap_thread, (enum coppice_type)HEAP_LIVES);
    void *p = own ? je_mallocx(likely(size > 0) ? size : 1, own | flags) : NULL;
    if (p && life_begin(p, size, kind, clock_coarse_ns())) return noted((enum coppice_type)HEAP_LIVES, p);
    if (p) je_dallocx(p, own);
    return NULL;
}

void *heap_typed_alloc(struct kind kind, size_t size, int flags) {
    if (unlikely(kind.type >= TYPE_PARAMS)) return kind.type == TYPE_PARAMS ? structs_alloc(kind, size, flags) : known(kind, size, flags);
    struct heap_thread *t = &heap_thread;
    int own = flags_of(t, (enum coppice_type)kind.type);
    if (unlikely(!own)) return NULL;
    void *small = flags == 0 ? heap_typed_small((enum coppice_type)kind.type, size) : NULL;
    return small ? small : noted((enum coppice_type)kind.type, je_mallocx(likely(size > 0) ? size : 1, own | flags));
}

/* --- samples */

/* Two shared words a call would cost more than malloc: one call in SAMPLE of a thread counts for all of them. Intervals are uneven,
 * so that a program's own rhythm does not choose. */
void *heap_sampled(struct kind kind, size_t size, int flags) {
    struct heap_thread *t = &heap_thread;
    uint32_t random = life_random();
    t->until_sample = SAMPLE / 2 + (int32_t)(random % SAMPLE);
    if (flags < 0) return NULL;
    if (kind.site && kind.type != TYPE_PARAMS) {
        uint64_t stands_for = size < HEAP_LARGE ? SAMPLE : SAMPLE / SAMPLE_LARGE;
        counter_add(&site_counters_of(kind)->allocs, stands_for), counter_add(&site_counters_of(kind)->bytes, stands_for * size);
        void *p = sites_learn() && random / SAMPLE % SAMPLE_LIVES == 0 ? known(kind, size, flags) : NULL;
        if (p) return p;
    }
    return kind.type == COPPICE_UNTYPED ? NULL : heap_typed_alloc(kind, size, flags);
}

void heap_typed_free(enum coppice_type type, void *p) {
    struct heap_thread *t = &heap_thread;
    if (unlikely((unsigned)type == TYPE_PACKED)) return packed_free(p);
    if (unlikely((unsigned)type == TYPE_PARAMS)) return structs_free(p);
    bool is_known = type == (enum coppice_type)HEAP_LIVES;
    if (is_known) life_end(p, clock_coarse_ns());
    size_t usable = je_malloc_usable_size(p);
    if (!is_known && usable <= SMALL_MOST && t->typed_small && heap_typed_keep(t, small_bin(type, small_class(usable)), p)) return;
    int own = flags_of(t, type);
    je_dallocx(p, likely(own != 0) ? own : CACHE_NONE);
}

void heap_typed_flush(struct heap_thread *t) {
    for (enum coppice_type type = COPPICE_EPISODIC; t->typed_small && type < COPPICE_TYPES; type++)
        for (unsigned class = 0; class < SMALL_CLASSES; class++)
            for (struct typed_bin *bin = &t->typed_small->bin[small_bin(type, class)]; bin->count > 0;) {
                t->kept_given -= bin->bytes; /* jemalloc counts it as freed from now on */
                je_dallocx(bin->block[--bin->count], t->typed_flags[type] ? t->typed_flags[type] : CACHE_NONE);
            }
}

/* A struct that grows beyond its place is none any more. */
static void *realloc_struct(void *p, size_t size) {
    size_t usable = structs_usable(p);
    return size <= usable && size > usable / 2 ? p : NULL;
}

/* A sample ends; key/value cache goes on, at another place or size. */
static void *realloc_known(void *p, size_t size) {
    struct life_known was = life_end(p, clock_coarse_ns());
    int own = flags_of(&heap_thread, (enum coppice_type)HEAP_LIVES);
    void *got = own ? noted((enum coppice_type)HEAP_LIVES, je_rallocx(p, size, own)) : NULL;
    if (was.kind.kv) life_begin(got ? got : p, got ? size : was.size, was.kind, clock_coarse_ns());
    return got;
}

void *heap_typed_realloc(enum coppice_type type, void *p, size_t size) {
    if (unlikely((unsigned)type == TYPE_PARAMS)) return realloc_struct(p, size);
    if (unlikely((unsigned)type == TYPE_PACKED)) return packed_resize(p, size) ? p : NULL;
    if (type == (enum coppice_type)HEAP_LIVES) return realloc_known(p, size);
    int own = flags_of(&heap_thread, type);
    return own ? noted(type, je_rallocx(p, size, own)) : NULL;
}

size_t heap_usable_size(const void *p) {
    int type = heap_owns_fast(p) ? COPPICE_UNTYPED : heap_lives_in(p);
    return type == (int)TYPE_PARAMS ? structs_usable(p) : type == (int)TYPE_PACKED ? packed_usable(p) : je_malloc_usable_size(p);
}
