/* next.c: the table of next.h, filled by dlsym(RTLD_NEXT, ...). */
#include "next.h"
#include "symbol_lookup.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

/* glibc's allocator under the names that no preload replaces */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);

struct next_table next = {
    .malloc = __libc_malloc, .calloc = __libc_calloc, .realloc = __libc_realloc, .free = __libc_free,
    .memalign = __libc_memalign, .aligned_alloc = __libc_memalign, .valloc = __libc_valloc, .pvalloc = __libc_pvalloc,
};

void next_resolve(void) {
    static const char *const names[] = {
#define NEXT(returned, name, parameters) #name,
#include "next.def"
#undef NEXT
    };
    static _Atomic bool done;
    if (atomic_exchange(&done, true)) return;
    void **slot = (void **)&next;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        void *found = real_dlsym(RTLD_NEXT, names[i]);
        if (found) slot[i] = found;
    }
    dlerror(); /* leave no error behind */
}
