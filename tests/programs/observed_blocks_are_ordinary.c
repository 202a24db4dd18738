// env: COPPICE_INTERN=observe
/* A block that is sampled for the profile of duplicates lies on pages of its own, and is what was asked for all the same: cleared, aligned,
 * with the old contents where it grew. */
#include "program.h"
#include <malloc.h>
#include <stdint.h>

enum { ROUNDS = 200000, LARGEST = 200, ALIGNED = 256, GROWS = 3 };
static void expect_all(const unsigned char *p, unsigned value, size_t size) {
    for (size_t i = 0; i < size; i++) CHECK(p[i] == value);
}

int main(void) {
    uint64_t random = 88172645463325252u;
    for (size_t size = 1; size <= LARGEST; size++) CHECK(malloc(size)); /* they have the starts of pages; a sample has to be moved there */
    for (unsigned i = 0; i < ROUNDS; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        size_t size = 1 + random % LARGEST; /* small: a sample is due each 64 or so, sooner where 64 KiB were freed none is taken */
        unsigned kind = random >> 32 & 3; /* in no rhythm: every so many-th block is sampled */
        unsigned char *p = kind == 0 ? calloc(1, size) : kind == 1 ? memalign(ALIGNED, size) : malloc(size);
        CHECK(p && malloc_usable_size(p) >= size && (kind != 1 || (uintptr_t)p % ALIGNED == 0));
        if (kind == 0) expect_all(p, 0, size);
        memset(p, 0xff, malloc_usable_size(p));
        if (kind == 2) {
            CHECK((p = realloc(p, size * GROWS)) && malloc_usable_size(p) >= size * GROWS);
            expect_all(p, 0xff, size);
            memset(p, 0xff, size * GROWS);
        }
        free(p);
    }
    return 0;
}
