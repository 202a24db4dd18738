/* deepbind: pointers of glibc's own heap, from a library loaded with RTLD_DEEPBIND, are recognised and go back to it. */
#include "program.h"
#include <dlfcn.h>
#include <malloc.h>

int main(void) {
    void *library = dlopen("build/tests/programs/deepbind.lib.so", RTLD_NOW | RTLD_DEEPBIND);
    CHECK(library);
    void *(*get[3])(size_t) = { (void *(*)(size_t))dlsym(library, "library_malloc"), (void *(*)(size_t))dlsym(library, "library_memalign"),
                                (void *(*)(size_t))dlsym(library, "library_calloc") };
    for (int round = 0; round < 300; round++)
        for (int kind = 0; kind < 3; kind++) {
            size_t size = 1 + (size_t)round * 1001;
            char *p = get[kind](size);
            CHECK(p && malloc_usable_size(p) >= size);
            memset(p, 7, size);
            p = realloc(p, 2 * size);
            CHECK(p && p[0] == 7 && p[size - 1] == 7);
            free(p);
        }
    return 0;
}
