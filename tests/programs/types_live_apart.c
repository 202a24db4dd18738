/* types_live_apart.c: memory of each type lies in address space of its own, whichever way it was asked for and freed, and blocks of
 * one type never serve another; threads' caches do not mix them either.
 * env: COPPICE_TYPE_RULES=types_live_apart*:host:>=100000:<200000=semantic */
#include "program.h"
#include "../../include/coppice/coppice.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

static __typeof__(&coppice_type_push) push;
static __typeof__(&coppice_type_pop) pop;
static __typeof__(&coppice_alloc) alloc_typed;
enum { MANY = 20000 };

/* Where blocks of a type were; untyped ones have two homes, in classes and packed, and are remembered one by one. */
struct range { uintptr_t low, high; };
static struct range range[COPPICE_TYPES];
static uintptr_t untyped[3 * MANY];
static unsigned untyped_count;
static void note(enum coppice_type type, void *p) {
    CHECK(p && untyped_count < 3 * MANY);
    uintptr_t at = (uintptr_t)p;
    if (type == COPPICE_UNTYPED) untyped[untyped_count++] = at;
    if (type == COPPICE_UNTYPED) return;
    struct range *r = &range[type];
    if (!r->low || at < r->low) r->low = at;
    if (at > r->high) r->high = at;
}
static bool apart(void) {
    for (int a = 0; a < COPPICE_TYPES; a++)
        for (unsigned i = 0; range[a].low && i < untyped_count; i++)
            if (untyped[i] >= range[a].low && untyped[i] <= range[a].high) return false;
    for (int a = 0; a < COPPICE_TYPES; a++)
        for (int b = 0; b < a; b++)
            if (range[a].low && range[b].low && range[a].low <= range[b].high && range[b].low <= range[a].high) return false;
    return true;
}

/* Blocks of all types, freed in an order that mixes them, by this thread and another. No two share a byte, whatever was where before. */
static unsigned char *kept[MANY];
static size_t sizes[MANY];
static void *free_all(void *unused) {
    for (int i = 0; i < MANY; i++) {
        for (size_t at = 0; at < sizes[i]; at += 16) CHECK(kept[i][at] == (unsigned char)(i * 7));
        free(kept[i]);
    }
    return NULL;
}
static void mix(unsigned round) {
    unsigned seed = round;
    for (int i = 0; i < MANY; i++) {
        enum coppice_type type = (enum coppice_type)((unsigned)i % COPPICE_TYPES);
        /* pages of one size had another before, and the first that are wanted are the last freed */
        size_t size = i % 100 == 0 ? (unsigned)rand_r(&seed) % 90000 : i < MANY / 2 ? 600 : round % 2 ? 40 : 3000;
        push(type);
        void *p = i % 3 == 0 ? malloc(size) : i % 3 == 1 ? calloc(1, size) : aligned_alloc(64, size);
        pop();
        if (i % 7 == 0) p = realloc(p, size * 2 + 1); /* keeps the type, whoever asks */
        note(type, p);
        memset(p, i * 7, size);
        kept[i] = p, sizes[i] = size;
    }
}

static void *(*volatile plain_malloc)(size_t) = malloc; /* by rules */
int main(void) {
    *(void **)&push = dlsym(RTLD_DEFAULT, "coppice_type_push");
    *(void **)&pop = dlsym(RTLD_DEFAULT, "coppice_type_pop");
    *(void **)&alloc_typed = dlsym(RTLD_DEFAULT, "coppice_alloc");
    for (unsigned round = 0; round < 6; round++) {
        mix(round);
        pthread_t thread;
        if (round % 2) free_all(NULL);
        else CHECK(pthread_create(&thread, NULL, free_all, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
    CHECK(apart());
    for (int i = 0; i < 1000; i++) { /* after all the frees, nobody is given another's memory */
        void *p[COPPICE_TYPES];
        for (enum coppice_type type = 0; type < COPPICE_TYPES; type++) note(type, p[type] = type ? alloc_typed(100, type) : malloc(100));
        for (enum coppice_type type = 0; type < COPPICE_TYPES; type++) free(p[type]);
    }
    CHECK(apart());
    void *ruled = plain_malloc(150000), *smaller = plain_malloc(99999), *larger = plain_malloc(200000);
    note(COPPICE_SEMANTIC, ruled), note(COPPICE_UNTYPED, smaller), note(COPPICE_UNTYPED, larger);
    CHECK(apart());
    free(ruled), free(smaller), free(larger);
    struct mallinfo2 info = mallinfo2();
    CHECK(malloc_trim(0) >= 0 && info.uordblks > 0);
    struct rlimit limit = { (rlim_t)8 << 30, RLIM_INFINITY }; /* what was only reserved goes back, what is there serves on */
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    mix(6), free_all(NULL), mix(7), free_all(NULL);
    return 0;
}
