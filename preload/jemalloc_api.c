/* jemalloc_api.c: jemalloc's own interface, for programs that were written for it: they must not meet two heaps.
 * Forwarded to our jemalloc. Two things are refused with the errors that jemalloc has for them: extent hooks (memory would
 * come from outside our address space, where it is not recognised) and background threads.
 * When we stand aside the next jemalloc answers; where there is none, the standard functions do as well as they can. */
#include "hook.h"
#include <string.h>

/* flags of mallocx: lg(alignment) in the low six bits, then zero */
static size_t flag_alignment(int flags) { return (size_t)1 << (flags & 63); }
static bool flag_zero(int flags) { return flags & 64; }

static int refusal(const char *name, const void *new) {
    if (!new) return 0;
    if (strcmp(name, "background_thread") == 0) return EFAULT;
    return strstr(name, "extent_hooks") || strcmp(name, "arenas.create") == 0 ? EPERM : 0;
}

/* Not jemalloc's, though ours. */
static bool is_other(const void *p) {
    int type = heap_owns_fast(p) ? COPPICE_UNTYPED : heap_lives_in(p);
    return type == (int)TYPE_PARAMS || type == (int)TYPE_PACKED;
}

static bool pass(void) { return hook_turn() != SERVE; }

static int own_mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length) {
    if (pass()) return next.mallctl ? next.mallctl(name, old, old_length, new, new_length) : ENOENT;
    int refused = refusal(name, new);
    return refused ? refused : je_mallctl(name, old, old_length, new, new_length);
}

static int own_mallctlnametomib(const char *name, size_t *mib, size_t *length) {
    if (pass()) return next.mallctlnametomib ? next.mallctlnametomib(name, mib, length) : ENOENT;
    return strstr(name, "extent_hooks") || strcmp(name, "background_thread") == 0 ? ENOENT : je_mallctlnametomib(name, mib, length);
}

static int own_mallctlbymib(const size_t *mib, size_t length, void *old, size_t *old_length, void *new, size_t new_length) {
    if (pass()) return next.mallctlbymib ? next.mallctlbymib(mib, length, old, old_length, new, new_length) : ENOENT;
    return je_mallctlbymib(mib, length, old, old_length, new, new_length);
}

static void *standard_mallocx(size_t size, int flags) {
    void *p = own_memalign(flag_alignment(flags), size);
    return p && flag_zero(flags) ? memset(p, 0, size) : p;
}

static void *own_mallocx(size_t size, int flags) {
    if (heap_take(size)) return je_mallocx(size, flags);
    if (hook_turn() == SERVE) return hook_counted(je_mallocx(size, flags), size);
    return next.mallocx ? next.mallocx(size, flags) : standard_mallocx(size, flags);
}

static void *own_rallocx(void *p, size_t size, int flags) {
    if (pass() && !heap_owns(p)) return next.rallocx ? next.rallocx(p, size, flags) : own_realloc(p, size);
    if (!heap_owns(p) || is_other(p)) return own_realloc(p, size);
    void *got = je_rallocx(p, size, flags);
    if (size >= HEAP_LARGE) kept_any_large = true;
    if (got) heap_thread.takes--, heap_thread.gives--;
    if (!pass()) heap_publish();
    return got;
}

static size_t own_xallocx(void *p, size_t size, size_t extra, int flags) {
    if (heap_owns(p)) return is_other(p) ? heap_usable_size(p) : je_xallocx(p, size, extra, flags);
    return next.xallocx ? next.xallocx(p, size, extra, flags) : own_malloc_usable_size(p);
}

static size_t own_sallocx(const void *p, int flags) {
    if (heap_owns(p)) return is_other(p) ? heap_usable_size(p) : je_sallocx(p, flags);
    return next.sallocx ? next.sallocx(p, flags) : own_malloc_usable_size((void *)p);
}

static void own_dallocx(void *p, int flags) {
    if (heap_give(p)) je_dallocx(p, flags);
    else if (!heap_owns(p) && next.dallocx) next.dallocx(p, flags);
    else if (!heap_owns_fast(p) || hook_turn() != SERVE) own_free(p);
    else je_dallocx(p, flags), heap_publish();
}

static void own_sdallocx(void *p, size_t size, int flags) { own_dallocx(p, flags); }

static size_t own_nallocx(size_t size, int flags) {
    if (!pass()) return je_nallocx(size, flags);
    return next.nallocx ? next.nallocx(size, flags) : size;
}

static void own_malloc_stats_print(void (*write)(void *, const char *), void *opaque, const char *options) {
    if (!pass()) je_malloc_stats_print(write, opaque, options);
    else if (next.malloc_stats_print) next.malloc_stats_print(write, opaque, options);
}

PUBLISH(int, mallctl, (const char *name, void *old, size_t *old_length, void *new, size_t new_length))
PUBLISH(int, mallctlnametomib, (const char *name, size_t *mib, size_t *length))
PUBLISH(int, mallctlbymib, (const size_t *mib, size_t length, void *old, size_t *old_length, void *new, size_t new_length))
PUBLISH(void *, mallocx, (size_t size, int flags))
PUBLISH(void *, rallocx, (void *p, size_t size, int flags))
PUBLISH(size_t, xallocx, (void *p, size_t size, size_t extra, int flags))
PUBLISH(size_t, sallocx, (const void *p, int flags))
PUBLISH(void, dallocx, (void *p, int flags))
PUBLISH(void, sdallocx, (void *p, size_t size, int flags))
PUBLISH(size_t, nallocx, (size_t size, int flags))
PUBLISH(void, malloc_stats_print, (void (*write)(void *, const char *), void *opaque, const char *options))
