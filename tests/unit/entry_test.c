/* entry_test.c: the states of an entry, also those that a race makes for nanoseconds. */
#include "intern/entry.h"
#include "suite.h"
#include <stdlib.h>

static struct entry e;
static const uint64_t fields = (uint64_t)200 << ENTRY_LENGTH_AT | (uint64_t)4000 << ENTRY_OFFSET_AT | (uint64_t)5 << ENTRY_TAG_AT;
static void set(uint64_t word) { atomic_store(&e.word, word); }
/* One reference ends; false: there is none. */
static bool release(unsigned time) { return !(entry_release(&e, 1, time) & ENTRY_DEAD); }

START_TEST(the_dead_cannot_be_held) {
    set(ENTRY_DEAD);
    ck_assert(entry_hold(&e) & ENTRY_DEAD);
    ck_assert(entry_word(&e) == ENTRY_DEAD);
    ck_assert(!release(1));
}
END_TEST

START_TEST(what_is_referenced_does_not_die) {
    set(fields + 1);
    ck_assert(!entry_die(&e));
    ck_assert(entry_word(&e) == fields + 1);
    ck_assert(release(77));
    ck_assert_uint_eq(entry_time(entry_word(&e)), 77);
    ck_assert(entry_die(&e));
    ck_assert(entry_word(&e) == ENTRY_DEAD);
    ck_assert(!entry_die(&e));
}
END_TEST

START_TEST(a_reader_that_only_looks_keeps_alive) {
    set(fields);
    uint64_t w = entry_hold(&e);
    ck_assert(!(w & ENTRY_DEAD) && !entry_die(&e));
    entry_drop(&e, w);
    ck_assert(entry_die(&e));
}
END_TEST

START_TEST(coming_alive_keeps_the_additions_of_readers_under_way) {
    set(ENTRY_DEAD);
    atomic_fetch_add(&e.word, 1); /* the first half of entry_hold in another thread */
    entry_come_alive(&e, fields);
    ck_assert(entry_word(&e) == fields + 2);
    atomic_fetch_sub(&e.word, 1); /* its second half */
    ck_assert(entry_word(&e) == fields + 1);
    ck_assert(!entry_die(&e));
}
END_TEST

START_TEST(fields_stay_what_they_are) {
    set(ENTRY_DEAD);
    entry_come_alive(&e, fields);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t w = entry_hold(&e);
        ck_assert(entry_length(w) == 200 && entry_offset(w) == 4000 && entry_tag(w) == 5);
        entry_touch(&e, w);
        ck_assert(release(i * 1000));
        entry_untouch(&e);
    }
    ck_assert(entry_references(entry_word(&e)) == 1);
    ck_assert(release(ENTRY_TIMES + 5)); /* times go around */
    ck_assert_uint_eq(entry_time(entry_word(&e)), 5);
    ck_assert(entry_word(&e) & ENTRY_TOUCHED);
    ck_assert(!release(6));
}
END_TEST

START_TEST(too_many_references_to_count_keep_for_ever) {
    set(fields + ENTRY_KEPT - 1);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t w = entry_hold(&e);
        ck_assert(!(w & ENTRY_DEAD));
        if (i % 2) entry_drop(&e, w);
    }
    ck_assert(entry_word(&e) == fields + ENTRY_KEPT);
    for (unsigned i = 0; i < 200; i++) ck_assert(release(1));
    ck_assert(entry_word(&e) == fields + ENTRY_KEPT);
    ck_assert(!entry_die(&e));
}
END_TEST

START_TEST(some_references_come_and_go_at_once) {
    set(fields + 1);
    ck_assert(entry_hold_more(&e, 31));
    ck_assert_uint_eq(entry_references(entry_word(&e)), 32);
    ck_assert(entry_release(&e, 33, 9) & ENTRY_DEAD); /* more than there are: none */
    ck_assert_uint_eq(entry_references(entry_word(&e)), 32);
    entry_ended = ENTRY_NONE_ENDED;
    ck_assert_uint_eq(entry_references(entry_release(&e, 31, 9)), 1);
    ck_assert_int_eq(entry_ended, ENTRY_ONE_ENDED);
    ck_assert_uint_eq(entry_time(entry_word(&e)), 9);
    ck_assert_uint_eq(entry_references(entry_release(&e, 1, 9)), 0);
    ck_assert_int_eq(entry_ended, ENTRY_LAST_ENDED);
    entry_tell_ended(false);
    ck_assert_int_eq(entry_ended, ENTRY_LAST_ENDED);
    set(fields + ENTRY_KEPT / 2);
    ck_assert(!entry_hold_more(&e, 31));
    ck_assert(entry_word(&e) == fields + ENTRY_KEPT / 2);
}
END_TEST

START_TEST(times_go_around) {
    ck_assert_uint_eq(entry_age(ENTRY_TIMES - 1, 1), 2);
    ck_assert_uint_eq(entry_age(7, 7), 0);
}
END_TEST

SUITE("entry", NULL, NULL,
    the_dead_cannot_be_held, what_is_referenced_does_not_die, a_reader_that_only_looks_keeps_alive, fields_stay_what_they_are,
    too_many_references_to_count_keep_for_ever, coming_alive_keeps_the_additions_of_readers_under_way,
    some_references_come_and_go_at_once, times_go_around)
