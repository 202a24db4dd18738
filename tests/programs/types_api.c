/* types_api.c: memory of every type is memory: the standard functions take it, and types nest by thread. */
#include "program.h"
#include "../../include/coppice/coppice.h"
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>

static __typeof__(&coppice_alloc) alloc_typed;
static __typeof__(&coppice_type_push) push;
static __typeof__(&coppice_type_pop) pop;

static void use(void *p, size_t size) {
    CHECK(p && (uintptr_t)p % (size < 16 ? 8 : 16) == 0 && malloc_usable_size(p) >= size);
    memset(p, 0x5a, size);
}

static void standard_functions_take_it(enum coppice_type type, size_t size) {
    char *p = alloc_typed(size, type);
    use(p, size);
    p = realloc(p, size * 3 + 1);
    use(p, size * 3 + 1);
    if (size > 0) CHECK(p[0] == 0x5a);
    p = realloc(p, size / 2 + 1);
    use(p, size / 2 + 1);
    free(p);
}

static void all_ways_to_memory(enum coppice_type type) {
    void *p = NULL;
    push(type);
    free(malloc(100));
    char *zero = calloc(1000, 3);
    for (int i = 0; i < 3000; i++) CHECK(zero[i] == 0);
    free(zero);
    CHECK(posix_memalign(&p, 4096, 5000) == 0 && (uintptr_t)p % 4096 == 0);
    use(p, 5000);
    free(p);
    p = aligned_alloc(64, 640);
    use(p, 640);
    free(p);
    p = malloc(1);
    pop();
    p = realloc(p, 5000);
    use(p, 5000);
    free(p);
    errno = 0;
    CHECK(alloc_typed(SIZE_MAX / 2, type) == NULL && errno == ENOMEM);
}

int main(void) {
    *(void **)&alloc_typed = dlsym(RTLD_DEFAULT, "coppice_alloc");
    *(void **)&push = dlsym(RTLD_DEFAULT, "coppice_type_push");
    *(void **)&pop = dlsym(RTLD_DEFAULT, "coppice_type_pop");
    CHECK(alloc_typed && push && pop);
    static const size_t sizes[] = { 0, 1, 16, 100, 5000, 70000, 3 << 20, 40 << 20 };
    for (enum coppice_type type = COPPICE_UNTYPED; type < COPPICE_TYPES; type++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) standard_functions_take_it(type, sizes[i]);
        all_ways_to_memory(type);
    }
    standard_functions_take_it((enum coppice_type)99, 100); /* one line says that it is no type */
    pop();                                                 /* without a push: nothing */
    push(COPPICE_SEMANTIC);
    IN_CHILD(all_ways_to_memory(COPPICE_EPISODIC); standard_functions_take_it(COPPICE_EMOTIONAL, 100));
    pop();
    return 0;
}
