/* libc_malloc.c: the malloc family, as programs call it by symbol. Results, errors and errno are glibc's.
 * A pointer is ours when it lies in our address space (heap/heap.h): one compare. Any other comes from the bootstrap arena or
 * is foreign (glibc's own, from a library loaded with RTLD_DEEPBIND, or from before us) and goes to the next definition. */
#include "hook.h"
#include <stdint.h>
#include <string.h>

static inline size_t product(size_t a, size_t b) { return a * b; }

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

ALLOCATES(malloc, (size_t size), (size), size, hook_malloc(size), bootstrap_alloc(size, 16))
ALLOCATES(calloc, (size_t count, size_t size), (count, size), product(count, size), je_calloc(count, size), zeroed_early(count, size))
ALLOCATES(memalign, (size_t alignment, size_t size), (alignment, size), size, aligned(alignment, size), aligned_early(alignment, size))
ALLOCATES(aligned_alloc, (size_t alignment, size_t size), (alignment, size), size, aligned(alignment, size), aligned_early(alignment, size))
ALLOCATES(valloc, (size_t size), (size), size, je_aligned_alloc(page_size(), size), bootstrap_alloc(size, page_size()))
ALLOCATES(pvalloc, (size_t size), (size), size, je_aligned_alloc(page_size(), whole_pages(size)), bootstrap_alloc(whole_pages(size), page_size()))

static int own_posix_memalign(void **p, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
    int saved = errno;
    void *got = own_memalign(alignment, size);
    errno = saved;
    if (!got) return ENOMEM;
    *p = got;
    return 0;
}

/* --- giving back */

/* Not of the first segment, or credit has run out. */
static __attribute__((noinline)) void free_slowly(void *p) {
    if (!p) return;
    int saved = errno;
    if (heap_owns(p)) {
        if (!heap_owns_fast(p)) heap_thread.gives--;
        bool serve = hook_turn() == SERVE;
        je_free(p);
        if (serve) heap_publish();
    } else if (!bootstrap_owns(p)) {
        if (coppice_on()) counter_add(&counters->host.foreign_frees, 1);
        next.free(p);
    }
    errno = saved;
}

/* Large blocks begin on a page (cache_oblivious is off); so does the first block of each slab of small ones. */
static __attribute__((noinline)) void free_page(void *p) {
    if (!kept_give(p)) je_free(p);
    heap_publish_large();
}

void own_free(void *p) {
    if (unlikely(!heap_give(p))) free_slowly(p);
    else if (unlikely(((uintptr_t)p & 4095) == 0 && kept_any_large)) free_page(p);
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

/* Not of the first segment, or to nothing. */
static COLD void *realloc_odd(void *p, size_t size) {
    if (!p) return own_malloc(size);
    if (bootstrap_owns(p)) return move(p, bootstrap_usable_size(p), size);
    if (!heap_owns(p)) return next.realloc(p, size);
    if (size > 0) return move(p, je_malloc_usable_size(p), size);
    own_free(p);
    return NULL;
}

static __attribute__((noinline)) void *realloc_slowly(void *p, size_t size) {
    if (hook_turn() != SERVE) return move(p, je_malloc_usable_size(p), size);
    void *got = heap_admit(size) ? je_realloc(p, size) : NULL;
    if (!got) heap_thread.takes++, heap_thread.gives++, errno = ENOMEM;
    if (size >= HEAP_LARGE) kept_any_large = true;
    heap_publish();
    return got;
}

void *own_realloc(void *p, size_t size) {
    struct heap_thread *t = &heap_thread;
    if (unlikely(size == 0 || !heap_owns_fast(p))) return realloc_odd(p, size);
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
    if (likely(heap_owns_fast(p)) || heap_owns(p)) return je_malloc_usable_size(p);
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
