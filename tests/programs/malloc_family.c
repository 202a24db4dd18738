/* malloc_family: results, errors and errno of the whole family are glibc's. */
#include "program.h"
#include <malloc.h>
#include <stdint.h>

void free_sized(void *p, size_t size) __attribute__((weak));
void free_aligned_sized(void *p, size_t alignment, size_t size) __attribute__((weak));
int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));

static volatile size_t huge = SIZE_MAX / 2 + 100, most = SIZE_MAX;

static int aligned_to(void *p, size_t n) { return p && (uintptr_t)p % n == 0; }

static void fails(void *p) {
    CHECK(p == NULL && errno == ENOMEM);
    errno = 0;
}

static void sizes(void) {
    for (size_t n = 0; n < 5u << 20; n = n < 300 ? n + 1 : n * 5 / 4) {
        char *p = malloc(n);
        CHECK(aligned_to(p, 16) && malloc_usable_size(p) >= n);
        memset(p, 0xa5, n);
        char *q = realloc(p, n + n / 2 + 1);
        CHECK(aligned_to(q, 16));
        for (size_t i = 0; i < n; i++) CHECK(q[i] == (char)0xa5);
        free(q);
        char *z = calloc(n ? n : 1, 3);
        CHECK(aligned_to(z, 16));
        for (size_t i = 0; i < 3 * n; i++) CHECK(z[i] == 0);
        memset(z, 0xff, 3 * n); /* the next calloc must not see it */
        free(z);
    }
}

static void alignments(void) {
    for (size_t a = 1; a <= 1u << 22; a *= 2) {
        void *p = memalign(a, 100), *q = aligned_alloc(a, 3 * a), *r = NULL;
        CHECK(aligned_to(p, a) && aligned_to(q, a) && aligned_to(p, 16));
        if (a >= sizeof(void *)) CHECK(posix_memalign(&r, a, 10) == 0 && aligned_to(r, a));
        free(p), free(q), free(r);
    }
    void *p = memalign(48, 10); /* rounded up, as in glibc */
    CHECK(aligned_to(p, 64));
    free(p);
    p = valloc(1), CHECK(aligned_to(p, 4096)), free(p);
    p = pvalloc(1), CHECK(aligned_to(p, 4096) && malloc_usable_size(p) >= 4096), free(p);
    p = pvalloc(4097), CHECK(malloc_usable_size(p) >= 8192), free(p);
}

static void errors(void) {
    void *p = (void *)1;
    errno = 0;
    fails(malloc(huge)), fails(malloc(most)), fails(calloc(most, 2)), fails(calloc(huge, 1)), fails(realloc(NULL, huge));
    fails(reallocarray(NULL, most, 2)), fails(memalign(64, huge)), fails(pvalloc(most)), fails(valloc(huge));
    CHECK(posix_memalign(&p, 3, 10) == EINVAL && posix_memalign(&p, 0, 10) == EINVAL && posix_memalign(&p, 24, 10) == EINVAL);
    CHECK(posix_memalign(&p, 64, huge) == ENOMEM && p == (void *)1 && errno == 0);
    CHECK(memalign(huge + 1000, 1) == NULL && errno == EINVAL);
    char *q = malloc(100);
    strcpy(q, "kept");
    errno = 0;
    fails(realloc(q, huge));
    CHECK(strcmp(q, "kept") == 0);
    free(q), free(NULL);
    void *many[200];
    for (int i = 0; i < 200; i++) many[i] = malloc((size_t)(i > 7 ? 100 : 3 << 20));
    for (int i = 0; i < 200; i++) {
        errno = 77;
        free(many[i]);
        CHECK(errno == 77);
    }
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100; i++) CHECK(realloc(malloc(1 << 20), 0) == NULL);
    CHECK(mallinfo2().uordblks < before + (2 << 20) && malloc_usable_size(NULL) == 0);
    void *a = malloc(0), *b = malloc(0);
    CHECK(a && b && a != b);
    free(a), free(b);
}

static void others(void) {
    if (free_sized) free_sized(malloc(10), 10);
    if (free_aligned_sized) free_aligned_sized(aligned_alloc(64, 64), 64, 64);
    void *p = malloc(1 << 20);
    CHECK(mallinfo2().uordblks >= 1 << 20);
    free(p);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    malloc_trim(0);
    FILE *null = fopen("/dev/null", "w");
    CHECK(malloc_info(0, null) == 0 && malloc_info(1, null) != 0);
    fclose(null);
    size_t *parts[200];
    for (int i = 0; i < 200; i++) parts[i] = malloc(1 << 16), memset(parts[i], 1, 1 << 16);
    for (int i = 0; i < 200; i++) free(parts[i]);
    CHECK(malloc_trim(0) == 1);
}

int main(void) {
    CHECK(mallctl); /* we are under the library */
    sizes(), alignments(), errors(), others();
    return 0;
}
