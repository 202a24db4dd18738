/* How often pressure is answered: each second while that brings something, ever more rarely while it does not. */
#include "pressure/cleaner.h"
#include "suite.h"

#define SECOND 1000000000ull

START_TEST(while_memory_comes_it_is_asked_for_each_second) {
    struct cleaner_patience p = { 0 };
    uint64_t now = 50 * SECOND;
    ck_assert(cleaner_may(&p, now));
    for (int i = 0; i < 5; i++) {
        cleaner_did(&p, now, 64 << 20);
        ck_assert(!cleaner_may(&p, now + SECOND - 1));
        ck_assert(cleaner_may(&p, now += SECOND));
    }
}
END_TEST

START_TEST(where_nothing_comes_a_minute_passes_in_the_end) {
    struct cleaner_patience p = { 0 };
    uint64_t now = 50 * SECOND, waits[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
    for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++) {
        cleaner_did(&p, now, 0);
        ck_assert(!cleaner_may(&p, now + waits[i] * SECOND - 1));
        ck_assert(cleaner_may(&p, now += waits[i] * SECOND));
    }
    cleaner_did(&p, now, 1 << 30);
    ck_assert(cleaner_may(&p, now + SECOND));
}
END_TEST

SUITE("cleaner", NULL, NULL, while_memory_comes_it_is_asked_for_each_second, where_nothing_comes_a_minute_passes_in_the_end)
