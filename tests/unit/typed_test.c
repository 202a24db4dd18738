/* typed_test.c: the classes of small typed blocks are jemalloc's, so a block serves every size that its class stands for. */
#include "heap/typed.h"
#include "heap/jemalloc.h"
#include "suite.h"

START_TEST(classes_are_jemallocs) {
    ck_assert(heap_init());
    for (size_t size = 1; size <= SMALL_MOST; size++) {
        size_t usable = je_nallocx(size, 0);
        unsigned class = small_class(size);
        ck_assert_uint_lt(class, SMALL_CLASSES);
        ck_assert_uint_eq(small_bytes(class), usable);
        ck_assert_uint_eq(small_class(usable), class);
    }
    ck_assert_uint_eq(small_class(0), small_class(1));
}
END_TEST

SUITE("typed", NULL, NULL, classes_are_jemallocs)
