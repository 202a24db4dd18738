/* hook.h: the pattern of the memory hooks.
 *
 * An allocating hook has two halves. The fast half counts the call in this thread's slot and asks jemalloc: a few ns more
 * than jemalloc alone. It is left when the thread has no credit (heap/thread.h): every 64 calls, for large blocks, and
 * always in a thread or process that is not served. The slow half then asks whose *turn* it is:
 *   SERVE  ours: jemalloc answers, and the thread's numbers are published
 *   EARLY  the heap is not up: the bootstrap arena answers
 *   PASS   we stand aside: the next definition in lookup order answers */
#ifndef COPPICE_PRELOAD_HOOK_H
#define COPPICE_PRELOAD_HOOK_H
#include "base/hints.h"
#include "base/start.h"
#include "heap/budget.h"
#include "heap/heap.h"
#include "heap/packed.h"
#include "heap/jemalloc.h"
#include "heap/thread.h"
#include "heap/typed.h"
#include "intern/observe.h"
#include "next.h"
#include <errno.h>

#define HIDDEN __attribute__((visibility("hidden")))

enum turn { SERVE, EARLY, PASS };

static inline enum turn hook_turn(void) {
    int mode = atomic_load_explicit(&coppice_mode_now, memory_order_acquire);
    if (unlikely(mode == MODE_BOOT)) mode = coppice_start();
    if (likely(mode == MODE_ON)) {
        heap_thread_ready();
        return SERVE;
    }
    heap_thread.takes = heap_thread.gives = 0;
    return mode == MODE_OFF ? PASS : EARLY;
}

/* jemalloc has answered on the slow way: counts what heap_take has not, and publishes. A failure does not count. */
static inline void *hook_counted(void *p, size_t size) {
    heap_thread.takes += (size < HEAP_LARGE) - (p != NULL);
    if (likely(heap_thread_may_wait(&heap_thread, size))) return p;
    if (size >= HEAP_LARGE) kept_any_large = true;
    heap_publish();
    if (unlikely(observe_on)) p = observe_allocated(p, size);
    if (unlikely(size >= HEAP_VERY_LARGE && heap_on_very_large)) heap_on_very_large();
    return p;
}

/* A hard limit has refused. */
static inline void *hook_refused(size_t size) {
    heap_thread.takes += size < HEAP_LARGE; /* it did not count */
    errno = ENOMEM;
    return NULL;
}

/* PUBLISH(returned, name, parameters): own_name, which no other definition can stand before, is what programs call `name`. */
#define PUBLISH(returned, name, parameters) returned name parameters __attribute__((alias("own_" #name), visibility("default")));

/* An untyped block where packing is on; NULL: jemalloc's to serve. */
static inline void *hook_packed(struct kind kind, size_t size, int flags) {
    return packed_on && kind.type == COPPICE_UNTYPED ? packed_alloc(size, flags) : NULL;
}

/* Memory of the type that the thread, or what is known of the caller, says; NULL: of no type. flags: as heap_typed_alloc's,
 * -1 for a request that is an error. */
static inline void *hook_typed(size_t size, enum site_api api, int flags) {
    if (heap_thread.packs && size < HEAP_LARGE) return packed_alloc(size, flags);
    struct kind kind = heap_kind(size, api);
    if (unlikely((heap_thread.until_sample -= size < HEAP_LARGE ? 1 : SAMPLE_LARGE) < 0)) return heap_sampled(kind, size, flags) ?: hook_packed(kind, size, flags);
    return likely(kind.type == COPPICE_UNTYPED) || flags < 0 ? hook_packed(kind, size, flags) : heap_typed_alloc(kind, size, flags);
}

/* The same, with the blocks at hand looked at first. */
static inline __attribute__((always_inline)) void *hook_typed_small(size_t size, enum site_api api, int flags) {
    if (likely(heap_thread.packs)) return packed_alloc(size, flags);
    struct kind kind = heap_kind(size, api);
    if (unlikely(--heap_thread.until_sample < 0)) return heap_sampled(kind, size, flags) ?: hook_packed(kind, size, flags);
    if (kind.type == COPPICE_UNTYPED || flags < 0) return hook_packed(kind, size, flags);
    void *small = flags == 0 ? heap_typed_small((enum coppice_type)kind.type, size) : NULL;
    return likely(small != NULL) ? small : heap_typed_alloc(kind, size, flags);
}

/* The slow half of an allocation in force; a thread whose allocations may have types comes here each time and goes through
 * name##_classified. */
#define HOOK_SERVED(bytes, api, flags, ours) \
    (likely(heap_admit(bytes)) ? hook_counted(hook_typed(bytes, api, flags) ?: (ours), bytes) : hook_refused(bytes))

/* ALLOCATES(name, parameters, arguments, bytes asked for, api and flags for typed memory, ours, early): a whole hook. */
#define ALLOCATES(name, parameters, arguments, bytes, api, flags, ours, early) \
    HIDDEN __attribute__((aligned(64))) void *own_##name parameters; \
    static COLD void *name##_slowly parameters { \
        switch (hook_turn()) { \
        case PASS: return next.name arguments; \
        case EARLY: return early; \
        default: return HOOK_SERVED(bytes, api, flags, ours); \
        } \
    } \
    static __attribute__((noinline)) void *name##_classified parameters { \
        if (likely(heap_thread_may_wait(&heap_thread, bytes))) { \
            void *p = hook_typed_small(bytes, api, flags) ?: (ours); \
            if (likely(p != NULL)) return p; \
        } \
        return name##_slowly arguments; \
    } \
    void *own_##name parameters { \
        if (likely(heap_take(bytes))) return ours; \
        heap_thread.caller = __builtin_return_address(0); \
        return name##_classified arguments; \
    } \
    PUBLISH(void *, name, parameters)

/* The hooks by names that nobody can replace, for calls among ourselves (libc_malloc.c). */
/* What jemalloc answers, and for a large block a kept one. Where heap_take has said yes the compiler drops the test. */
static inline void *hook_malloc(size_t size) {
    void *kept = size < HEAP_LARGE ? NULL : kept_take(size);
    return kept ? kept : je_malloc(size);
}

/* libc_malloc.c, for the other hooks */
HIDDEN void *own_malloc(size_t size);
/* The slow half of malloc for callers that have asked heap_take and set heap_thread.caller; alignment 0: any. */
HIDDEN void *hook_slowly(size_t size, size_t alignment, enum site_api api);
HIDDEN void *own_memalign(size_t alignment, size_t size);
HIDDEN void *own_realloc(void *p, size_t size);
HIDDEN size_t own_malloc_usable_size(void *p);
HIDDEN __attribute__((aligned(64))) void own_free(void *p);
#endif
