/* deepbind: a library loaded with RTLD_DEEPBIND, whose free would be glibc's, may free what strdup and main gave it, in its
 * constructor too, and main what it made; it is still searched for where its caller's libraries are. Pointers of glibc's own
 * heap are recognised and go back to it. */
#include "program.h"
#include <dlfcn.h>
#include <malloc.h>

void *__libc_malloc(size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_calloc(size_t count, size_t size);
static void *glibc_memalign(size_t size) { return __libc_memalign(4096, size); }
static void *glibc_calloc(size_t size) { return __libc_calloc(1, size); }

static void used_up_by_main(void *(*get)(size_t), size_t size) {
    char *p = get(size);
    CHECK(p && malloc_usable_size(p) >= size);
    memset(p, 7, size);
    p = realloc(p, 2 * size);
    CHECK(p && p[0] == 7 && p[size - 1] == 7);
    free(p);
}

/* dlopen looks at who called: deepbind.lib.so lies where only the RUNPATH of a library of ours leads. */
static void callers_folder_is_searched(void) {
    void *finder = dlopen("build/tests/programs/deepbind_finder.lib.so", RTLD_NOW);
    CHECK(finder);
    CHECK(!dlopen("deepbind.lib.so", RTLD_NOW | RTLD_DEEPBIND) && dlerror()); /* from here it is nowhere */
    void *(*find)(int) = (void *(*)(int))dlsym(finder, "find");
    CHECK(find && find(RTLD_NOW | RTLD_DEEPBIND));
}

int main(void) {
    callers_folder_is_searched();
    void *library = dlopen("build/tests/programs/deepbind.lib.so", RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library);
    void *(*get[3])(size_t) = { (void *(*)(size_t))dlsym(library, "library_malloc"), (void *(*)(size_t))dlsym(library, "library_memalign"),
                                (void *(*)(size_t))dlsym(library, "library_calloc") };
    void (*release)(void *) = (void (*)(void *))dlsym(library, "library_free");
    void *(*resize)(void *, size_t) = (void *(*)(void *, size_t))dlsym(library, "library_realloc");
    for (int round = 0; round < 300; round++) {
        size_t size = 1 + (size_t)round * 1001;
        for (int kind = 0; kind < 3; kind++) used_up_by_main(get[kind], size);
        used_up_by_main(__libc_malloc, size), used_up_by_main(glibc_memalign, size), used_up_by_main(glibc_calloc, size);
        release(malloc(size)), release(strdup("ours")), release(resize(malloc(size), 2 * size));
        release(__libc_malloc(size));
    }
    return 0;
}
