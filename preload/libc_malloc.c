/* libc_malloc.c: the malloc family, as programs call it by symbol. Results, errors and errno are glibc's.
 * A pointer is ours when it lies in our address space (heap/heap.h): one compare. Any other comes from the bootstrap arena or
 * is foreign (glibc's own, from a library loaded with RTLD_DEEPBIND, or from before us) and goes to the next definition. */
#include "hook.h"
#include <stdint.h>
#include <string.h>

/* SIZE_MAX, which nobody can have, where it overflows. */
static inline size_t product(size_t a, size_t b) {
    size_t bytes;
    return unlikely(__builtin_mul_overflow(a, b, &bytes)) ? SIZE_MAX : bytes;
}

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* glibc rounds an odd alignment up; one that cannot be rounded is EINVAL, which we say for 0. jemalloc's
 * aligned_alloc sets errno, its memalign does not. */
static size_t good_alignment(size_t alignment) {
    if (alignment > SIZE_MAX / 2 + 1) return 0;
    size_t good = 16;
    while (good < alignment) good *= 2;
    return good;
}

static void *aligned(size_t alignment, size_t size) {
    size_t good = good_alignment(alignment);
    if (good) return je_aligned_alloc(good, size);
    errno = EINVAL;
    return NULL;
}

static void *aligned_early(size_t alignment, size_t size) { return bootstrap_alloc(size, good_alignment(alignment)); }

static void *zeroed_early(size_t count, size_t size) {
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes)) return bootstrap_alloc(bytes, 16);
    errno = ENOMEM;
    return NULL;
}

/* pvalloc: whole pages. SIZE_MAX, which nobody can have, where rounding overflows. */
static size_t whole_pages(size_t size) {
    size_t rounded = (size + page_size() - 1) & -page_size();
    return rounded < size ? SIZE_MAX : rounded;
}

/* Flags of typed memory; -1: the alignment is none. */
static int aligned_flags(size_t alignment) {
    size_t good = good_alignment(alignment);
    return good ? __builtin_ctzl(good) : -1;
}

ALLOCATES(malloc, (size_t size), (size), size, API_MALLOC, 0, hook_malloc(size), bootstrap_alloc(size, 16))
ALLOCATES(calloc, (size_t count, size_t size), (count, size), product(count, size), API_CALLOC, TYPED_ZERO, je_calloc(count, size), zeroed_early(count, size))
ALLOCATES(memalign, (size_t alignment, size_t size), (alignment, size), size, API_MEMALIGN, aligned_flags(alignment), aligned(alignment, size), aligned_early(alignment, size))
ALLOCATES(aligned_alloc, (size_t alignment, size_t size), (alignment, size), size, API_MEMALIGN, aligned_flags(alignment), aligned(alignment, size), aligned_early(alignment, size))
ALLOCATES(valloc, (size_t size), (size), size, API_MEMALIGN, aligned_flags(page_size()), je_aligned_alloc(page_size(), size), bootstrap_alloc(size, page_size()))
ALLOCATES(pvalloc, (size_t size), (size), whole_pages(size), API_MEMALIGN, aligned_flags(page_size()), je_aligned_alloc(page_size(), whole_pages(size)), bootstrap_alloc(whole_pages(size), page_size()))

void *hook_slowly(size_t size, size_t alignment, enum site_api api) {
    switch (hook_turn()) {
    case PASS: return alignment ? next.memalign(alignment, size) : next.malloc(size);
    case EARLY: return bootstrap_alloc(size, alignment ? alignment : 16);
    default: return HOOK_SERVED(size, api, alignment ? aligned_flags(alignment) : 0, alignment ? aligned(alignment, size) : hook_malloc(size));
    }
}

static int own_posix_memalign(void **p, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
    int saved = errno;
    heap_thread.caller = __builtin_return_address(0);
    void *got = heap_take(size) ? aligned(alignment, size) : hook_slowly(size, alignment, API_MEMALIGN);
    errno = saved;
    if (!got) return ENOMEM;
    *p = got;
    return 0;
}

/* --- giving back */

static COLD void free_typed_slowly(enum coppice_type type, void *p) {
    int saved = errno;
    bool serve = hook_turn() == SERVE;
    heap_typed_free(type, p);
    if (serve) heap_publish_freed();
    errno = saved;
}

static inline void free_typed(enum coppice_type type, void *p) {
    if (unlikely(--heap_thread.gives < 0)) {
        free_typed_slowly(type, p);
        return;
    }
    heap_typed_free(type, p);
    heap_publish_large();
}

/* Neither of the first segment nor small and typed, or credit has run out. */
static __attribute__((noinline)) void free_odd(void *p) {
    if (!p) return;
    int type = heap_lives_in(p);
    if (type > COPPICE_UNTYPED) return free_typed((enum coppice_type)type, p);
    int saved = errno;
    if (type == COPPICE_UNTYPED) {
        if (!heap_owns_fast(p)) heap_thread.gives--;
        if (unlikely(observe_on)) observe_freed(p);
        bool serve = hook_turn() == SERVE;
        je_free(p);
        if (serve) heap_publish_freed();
    } else if (!bootstrap_owns(p)) {
        if (coppice_on()) counter_add(&counters->host.foreign_frees, 1);
        next.free(p);
    }
    errno = saved;
}

static __attribute__((noinline)) void free_slowly(void *p) {
    if (packed_owns_fast(p)) free_typed((enum coppice_type)TYPE_PACKED, p);
    else if (!heap_typed_free_small(p)) free_odd(p);
}

/* Large blocks begin on a page (cache_oblivious is off); so does the first block of each slab of small ones. */
static __attribute__((noinline)) void free_page(void *p) {
    if (unlikely(observe_on)) observe_freed(p);
    if (!kept_give(p)) je_free(p);
    heap_publish_large();
}

/* One comparison for both: the block begins on a page, and there has been a large one. A branch of its own for each cost every first
 * block of a slab 2 ns. */
static inline bool may_be_large(const void *p) { return ((uintptr_t)p & 4095) < kept_any_large; }

void own_free(void *p) {
    if (unlikely(!heap_give(p))) free_slowly(p);
    else if (unlikely(may_be_large(p))) free_page(p);
    else je_free(p);
}

static void own_free_sized(void *p, size_t size) { own_free(p); }
static void own_free_aligned_sized(void *p, size_t alignment, size_t size) { own_free(p); }

/* --- changing size; counts as an allocation and a free */

/* Into another heap: ours, or the next one when we stand aside by now. */
static void *move(void *p, size_t have, size_t size) {
    void *moved = own_malloc(size);
    if (!moved) return NULL;
    memcpy(moved, p, have < size ? have : size);
    own_free(p);
    return moved;
}

/* Keeps its type, as long as there is memory of it. */
static void *realloc_typed(enum coppice_type type, void *p, size_t size) {
    void *got = hook_turn() == SERVE && heap_admit(size) ? heap_typed_realloc(type, p, size) : NULL;
    if (!got) return move(p, heap_usable_size(p), size);
    heap_thread.takes--, heap_thread.gives--;
    if (!heap_thread_may_wait(&heap_thread, size)) heap_publish();
    return got;
}

/* Not of the first segment, or to nothing. */
static __attribute__((noinline)) void *realloc_odd(void *p, size_t size, const void *caller) {
    heap_thread.caller = caller;
    if (!p) return heap_take(size) ? je_malloc(size) : hook_slowly(size, 0, API_REALLOC);
    if (bootstrap_owns(p)) return move(p, bootstrap_usable_size(p), size);
    int type = heap_lives_in(p);
    if (type == HEAP_FOREIGN) return next.realloc(p, size);
    if (size > 0) return type ? realloc_typed((enum coppice_type)type, p, size) : move(p, je_malloc_usable_size(p), size);
    own_free(p);
    return NULL;
}

static __attribute__((noinline)) void *realloc_slowly(void *p, size_t size) {
    if (hook_turn() != SERVE) return move(p, je_malloc_usable_size(p), size);
    void *got = heap_admit(size) ? je_realloc(p, size) : NULL;
    if (!got) heap_thread.takes++, heap_thread.gives++, errno = ENOMEM;
    if (size >= HEAP_LARGE) kept_any_large = true;
    heap_publish_freed();
    return got;
}

void *own_realloc(void *p, size_t size) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(size == 0 || !heap_owns_fast(p))) return realloc_odd(p, size, __builtin_return_address(0));
    if (unlikely(observe_on)) observe_freed(p);
    t->takes--, t->gives--;
    if (unlikely((t->takes | t->gives) < 0 || size >= HEAP_LARGE)) return realloc_slowly(p, size);
    void *got = je_realloc(p, size);
    if (unlikely(!got)) errno = ENOMEM; /* jemalloc leaves that out */
    return got;
}

static void *own_reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes)) return own_realloc(p, bytes);
    errno = ENOMEM;
    return NULL;
}

size_t own_malloc_usable_size(void *p) {
    if (packed_owns_fast(p)) return packed_usable(p);
    if (likely(heap_owns_fast(p)) || heap_owns(p)) return heap_usable_size(p);
    if (!p) return 0;
    if (bootstrap_owns(p)) return bootstrap_usable_size(p);
    return next.malloc_usable_size ? next.malloc_usable_size(p) : 0;
}

PUBLISH(int, posix_memalign, (void **p, size_t alignment, size_t size))
PUBLISH(void *, realloc, (void *p, size_t size))
PUBLISH(void *, reallocarray, (void *p, size_t count, size_t size))
PUBLISH(size_t, malloc_usable_size, (void *p))
PUBLISH(void, free, (void *p))
PUBLISH(void, free_sized, (void *p, size_t size))
PUBLISH(void, free_aligned_sized, (void *p, size_t alignment, size_t size))
void cfree(void *p) __attribute__((alias("own_free"), visibility("default")));
