/* entry_test.c: the states of an entry, also those that a race makes for nanoseconds. */
#include "intern/entry.h"
#include <check.h>
#include <stdlib.h>

static struct entry e;

START_TEST(the_dead_cannot_be_held) {
    atomic_store(&e.state, ENTRY_DEAD);
    ck_assert(!entry_hold(&e));
    ck_assert_uint_eq(entry_state(&e), ENTRY_DEAD);
}
END_TEST

START_TEST(what_is_referenced_does_not_die) {
    atomic_store(&e.state, 1);
    ck_assert(!entry_die(&e));
    ck_assert_uint_eq(entry_state(&e), 1);
    entry_drop(&e);
    ck_assert(entry_die(&e));
    ck_assert_uint_eq(entry_state(&e), ENTRY_DEAD);
    ck_assert(!entry_die(&e));
}
END_TEST

START_TEST(a_reader_that_only_looks_keeps_alive) {
    atomic_store(&e.state, 0);
    ck_assert(entry_hold(&e));
    ck_assert(!entry_die(&e));
    entry_drop(&e);
    ck_assert(entry_die(&e));
}
END_TEST

START_TEST(coming_alive_keeps_the_additions_of_readers_under_way) {
    atomic_store(&e.state, ENTRY_DEAD);
    atomic_fetch_add(&e.state, 1); /* the first half of entry_hold in another thread */
    entry_come_alive(&e);
    ck_assert_uint_eq(entry_state(&e), 2);
    atomic_fetch_sub(&e.state, 1); /* its second half */
    ck_assert_uint_eq(entry_state(&e), 1);
    ck_assert(!entry_die(&e));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("entry");
    TCase *all = tcase_create("entry");
    tcase_add_test(all, the_dead_cannot_be_held);
    tcase_add_test(all, what_is_referenced_does_not_die);
    tcase_add_test(all, a_reader_that_only_looks_keeps_alive);
    tcase_add_test(all, coming_alive_keeps_the_additions_of_readers_under_way);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
