/* stack.c: see stack.h. */
#include "sites/stack.h"
#include "base/hints.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int unwind_many(void **frames, int most);
typedef int unwind_each(int (*each)(void *context, void *with), void *with);
typedef uintptr_t unwind_address(void *context);

static _Atomic(unwind_many *) many;
static _Atomic(unwind_each *) each;
static unwind_address *address_of;
static _Atomic bool primed, missing;

struct walk { void **frames; int count, most; };

static int note(void *context, void *with) {
    struct walk *w = with;
    if (w->count == w->most) return 5; /* _URC_END_OF_STACK */
    w->frames[w->count++] = (void *)address_of(context);
    return 0;
}

int stack_walk(void **frames, int most) {
    unwind_many *quick = atomic_load_explicit(&many, memory_order_acquire);
    unwind_each *slow = atomic_load_explicit(&each, memory_order_acquire);
    struct walk w = { .frames = frames, .most = most };
    int saved = errno;
    if (quick) w.count = quick(frames, most);
    else if (slow) slow(note, &w);
    errno = saved;
    return w.count > 0 ? w.count : 0;
}

static bool use_libunwind(void) {
    void *handle = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    unwind_many *found = handle ? (unwind_many *)dlsym(handle, "unw_backtrace") : NULL;
    atomic_store_explicit(&many, found, memory_order_release);
    return found != NULL;
}

static bool use_runtime(void) {
    void *handle = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_NOLOAD);
    unwind_each *found = handle ? (unwind_each *)dlsym(handle, "_Unwind_Backtrace") : NULL;
    address_of = handle ? (unwind_address *)dlsym(handle, "_Unwind_GetIP") : NULL;
    if (address_of) atomic_store_explicit(&each, found, memory_order_release);
    return found && address_of;
}

COLD bool stack_prime(void) {
    if (atomic_load(&primed)) return true;
    int saved = errno;
    void *frames[4];
    bool found = (!atomic_load(&missing) && use_libunwind()) || use_runtime();
    dlerror();
    stack_walk(frames, 4);
    atomic_store(&primed, found), atomic_store(&missing, !found);
    errno = saved;
    return found;
}
