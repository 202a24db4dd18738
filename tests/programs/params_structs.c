/* params_structs.c: structs that a rule calls params lie in slabs of their own by site, keep their bytes whoever frees them and whoever forks, and are
 * ordinary memory to the program. With an argument: holds structs for tests/programs/params_are_counted.
 * env: COPPICE_TYPE_RULES=params_structs*:host:<1K=params */
#include "memory.h"
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define NOINLINE __attribute__((noinline))
enum { SLAB = 64 << 10, MANY = 20000, SIZE_A = 200, SIZE_B = 72, THREADS = 4, ROUNDS = 200, EACH = 300 };

/* Sites; the test of the pointer keeps the call from being the last. */
static NOINLINE void *make_a(void) { void *p = malloc(SIZE_A); CHECK(p); return p; }
static NOINLINE void *make_b(void) { void *p = calloc(1, SIZE_B); CHECK(p); return p; }
static NOINLINE void *make_c(void) { void *p = malloc(SIZE_A); CHECK(p); return p; } /* another site of that size */
static NOINLINE void *make_of(size_t size) { void *p = malloc(size); CHECK(p); return p; }

static uintptr_t slab(const void *p) { return (uintptr_t)p / SLAB; }
static bool is_zero(const unsigned char *p, size_t n) { return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0); }
static void *(*volatile plain)(size_t) = malloc;

static void sites_lie_apart(void) {
    static void *a[MANY], *b[MANY];
    for (int i = 0; i < MANY; i++) a[i] = make_a(), b[i] = make_b();
    size_t steps = 0;
    for (int i = 1; i < MANY; i++) steps += slab(a[i]) != slab(a[i - 1]);
    CHECK(steps <= (size_t)MANY * (SIZE_A + 8) / (SLAB * 9 / 10) + 1); /* one slab after the other is filled */
    for (int i = 0; i < MANY; i += 97)
        for (int j = 0; j < MANY; j += 89) CHECK(slab(a[i]) != slab(b[j]));
    void *large = plain(5000);
    for (int i = 0; i < MANY; i++) CHECK(slab(large) != slab(a[i]) && slab(large) != slab(b[i]));
    free(large);
    void *c = make_c(), *freed = a[MANY / 2];
    for (int i = 0; i < MANY; i++) CHECK(slab(c) != slab(a[i]));
    free(c);
    free(freed);
    CHECK(make_a() == freed); /* the next of the site */
    for (int i = 0; i < MANY; i++) free(a[i]), free(b[i]);
}

static void they_are_ordinary_memory(void) {
    unsigned char *p = make_a(), *q;
    memset(p, 7, SIZE_A);
    CHECK((uintptr_t)p % 16 == 0 && malloc_usable_size(p) >= SIZE_A && malloc_usable_size(p) < SIZE_A + 16);
    free(p);
    for (int i = 0; i < 100; i++) CHECK(is_zero(q = make_b(), SIZE_B)), memset(q, 9, SIZE_B), free(q);
    p = make_a();
    for (int i = 0; i < SIZE_A; i++) p[i] = (unsigned char)i;
    q = make_a();
    memset(q, 3, SIZE_A);
    p = realloc(p, 3000);
    memset(p + SIZE_A, 4, 3000 - SIZE_A);
    for (int i = 0; i < SIZE_A; i++) CHECK(q[i] == 3);
    free(q);
    for (int i = 0; i < SIZE_A; i++) CHECK(p[i] == (unsigned char)i);
    p = realloc(p, 40);
    for (int i = 0; i < 40; i++) CHECK(p[i] == (unsigned char)i);
    free(p);
    CHECK((p = realloc(make_a(), SIZE_A - 10)) != NULL), free(p);
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) CHECK((uintptr_t)(p = aligned_alloc(alignment, 64)) % alignment == 0), free(p);
    for (size_t size = 0; size < 1100; size++) p = make_of(size), memset(p, 1, size), free(p); /* more sizes than there are pools */
}

/* --- threads: each fills structs, hands them to the next one, and frees what it got after a look at every byte */

static void *handed[THREADS][EACH];
static pthread_barrier_t all;

static void fill(unsigned char *p, size_t size, unsigned seed) {
    p[0] = (unsigned char)size, p[1] = (unsigned char)seed;
    memset(p + 2, (int)(seed * 31 + size), size - 2);
}
static void look(const unsigned char *p) {
    size_t size = p[0];
    for (size_t i = 2; i < size; i++) CHECK(p[i] == (unsigned char)(p[1] * 31u + size));
}
/* In a fork's child, of whose parent other threads are making structs at this moment. */
static void use_one(void) {
    void *p[EACH];
    for (unsigned i = 0; i < EACH; i++) fill(p[i] = i & 1 ? make_a() : make_b(), i & 1 ? SIZE_A : SIZE_B, i);
    for (unsigned i = 0; i < EACH; i++) look(p[i]), free(p[i]);
}
static void *work(void *number) {
    unsigned me = (unsigned)(uintptr_t)number, seed = me;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < EACH; i++) {
            if (i == 0 && round % 10 == me) IN_CHILD(use_one()); /* while the others allocate */
            bool a = rand_r(&seed) & 1;
            handed[me][i] = a ? make_a() : make_b();
            fill(handed[me][i], a ? SIZE_A : SIZE_B, round + me);
        }
        pthread_barrier_wait(&all);
        unsigned other = (me + round % THREADS) % THREADS;
        for (unsigned i = 0; i < EACH; i++) look(handed[other][i]), free(handed[other][i]);
        pthread_barrier_wait(&all);
    }
    return NULL;
}

static void threads_and_forks_keep_every_byte(void) {
    pthread_t thread[THREADS];
    pthread_barrier_init(&all, NULL, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&thread[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
}

/* What was empty goes back: of 8 MiB little stays resident. */
static void empty_slabs_go_back(void) {
    enum { COUNT = 80000 };
    void **p = calloc(COUNT, sizeof *p);
    memset(p, 1, COUNT * sizeof *p);
    long before = taken().resident;
    for (int i = 0; i < COUNT; i++) memset(p[i] = make_a(), 1, SIZE_A);
    long full = taken().resident;
    for (int i = 0; i < COUNT; i++) free(p[i]);
    CHECK(full - before > 14 << 20 && taken().resident - before < 2 << 20);
    free(p);
}

static void *rest(void *unused) { return sleep(6), NULL; }

/* 10,000 structs of ten contents, 10,000 all different; half of the first are freed and made again. */
static void hold(void) {
    static char *a[MANY / 2], *b[MANY / 2];
    for (int i = 0; i < MANY / 2; i++) {
        memset(a[i] = make_a(), i % 10, SIZE_A);
        memcpy(b[i] = make_b(), &i, sizeof i);
    }
    for (int i = 0; i < MANY / 2; i += 2) free(a[i]);
    for (int i = 0; i < MANY / 2; i += 2) memset(a[i] = make_a(), i % 10, SIZE_A);
    pthread_t thread; /* and a large block: the service thread begins */
    CHECK(pthread_create(&thread, NULL, rest, NULL) == 0);
    free(malloc(2 << 20));
    pthread_join(thread, NULL);
    free(a[0]);
}

int main(int count, char **argument) {
    if (count > 1) return hold(), 0;
    sites_lie_apart();
    they_are_ordinary_memory();
    threads_and_forks_keep_every_byte();
    empty_slabs_go_back();
    return 0;
}
