/* Runs of reserved addresses: never two at one place, found again after they were given back, next-fit. */
#include "device/space.h"
#include "suite.h"
#include <stdlib.h>

enum { SLOTS = 700 };
static struct space space;
static void setup(void) { ck_assert(space_open(&space, 1 << 30, SLOTS * PAGE_BYTES)); }

START_TEST(an_address_comes_back_late) {
    uint32_t a = space_take(&space, 3);
    space_give(&space, a, 3);
    ck_assert_uint_eq(space_take(&space, 3), a + 3);
    ck_assert_uint_eq(space_slot(&space, space_address(&space, a) + PAGE_BYTES + 5), a + 1);
    ck_assert(space_holds(&space, space_address(&space, SLOTS - 1) + PAGE_BYTES - 1) && !space_holds(&space, space_address(&space, SLOTS)));
    ck_assert(!space_holds(&space, space.base - 1));
}
END_TEST

START_TEST(all_of_it_can_be_taken_and_no_more) {
    ck_assert_uint_eq(space_take(&space, SLOTS), 0);
    ck_assert_uint_eq(space_take(&space, 1), UINT32_MAX);
    space_give(&space, 100, 70);
    ck_assert_uint_eq(space_take(&space, 71), UINT32_MAX);
    ck_assert_uint_eq(space_take(&space, 70), 100);
}
END_TEST

START_TEST(random_runs_never_overlap) {
    struct { uint32_t first, count; } held[64] = { 0 };
    static int owner[SLOTS];
    srandom(3);
    for (int step = 1; step < 20000; step++) {
        unsigned i = (unsigned)random() % 64;
        if (held[i].count) {
            for (uint32_t s = held[i].first; s < held[i].first + held[i].count; s++) {
                ck_assert_int_eq(owner[s], (int)i + 1);
                owner[s] = 0;
            }
            space_give(&space, held[i].first, held[i].count);
            held[i].count = 0;
            continue;
        }
        uint32_t count = 1 + (uint32_t)random() % 40, first = space_take(&space, count);
        if (first == UINT32_MAX) continue;
        ck_assert_uint_le(first + count, SLOTS);
        for (uint32_t s = first; s < first + count; s++) {
            ck_assert_int_eq(owner[s], 0);
            owner[s] = (int)i + 1;
        }
        held[i].first = first, held[i].count = count;
    }
}
END_TEST

SUITE("space", setup, NULL, an_address_comes_back_late, all_of_it_can_be_taken_and_no_more, random_runs_never_overlap)
