/* learn_test.c: a site's type follows what becomes of its memory, after a stated number of observations, and does not waver. */
#include "sites/learn.h"
#include "suite.h"
#include <string.h>

#define MS 1000000u
static struct lesson l;
static void begin(void) { memset(&l, 0, sizeof l); }
/* `n` lives of that length; `step`: how sizes go on. True when the type changed meanwhile. */
static bool lives(unsigned n, uint64_t size, uint64_t step, uint64_t lifetime) {
    bool changed = false;
    for (unsigned i = 0; i < n; i++) changed |= lesson_observe(&l, size + i * step, lifetime);
    return changed;
}

START_TEST(nothing_is_learned_from_too_little) {
    ck_assert(!lives(LEARN_AFTER - 1, 4096, 0, MS));
    ck_assert_int_eq(l.type, COPPICE_UNTYPED);
    ck_assert(lives(1, 4096, 0, MS));
}
END_TEST

START_TEST(equal_sizes_are_procedural) {
    lives(LEARN_AFTER, 4096, 0, MS);
    ck_assert_int_eq(l.type, COPPICE_PROCEDURAL);
}
END_TEST

START_TEST(short_lives_of_all_sizes_are_episodic) {
    lives(LEARN_AFTER, 4096, 512, 999 * (uint64_t)MS);
    ck_assert_int_eq(l.type, COPPICE_EPISODIC);
}
END_TEST

START_TEST(long_lives_are_semantic) {
    lives(LEARN_AFTER, 4096, 512, 61000 * (uint64_t)MS);
    ck_assert_int_eq(l.type, COPPICE_SEMANTIC);
}
END_TEST

START_TEST(what_is_neither_stays_untyped) {
    ck_assert(!lives(3 * LEARN_AFTER, 4096, 512, 5000 * (uint64_t)MS));
    ck_assert_int_eq(l.type, COPPICE_UNTYPED);
}
END_TEST

START_TEST(one_odd_window_changes_nothing) {
    lives(LEARN_AFTER, 4096, 0, MS);
    ck_assert(!lives(LEARN_AFTER, 4096, 512, MS));
    ck_assert(!lives(LEARN_AFTER, 4096, 0, MS));
    ck_assert(!lives(LEARN_AFTER, 4096, 512, MS));
    ck_assert_int_eq(l.type, COPPICE_PROCEDURAL);
    ck_assert(lives(LEARN_AFTER, 90000, 512, MS));
    ck_assert_int_eq(l.type, COPPICE_EPISODIC);
}
END_TEST

/* On the host sizes say little and lifetimes much. */
START_TEST(host_lifetimes_come_first) {
    l.host = true;
    lives(LEARN_AFTER, 4096, 0, 11000 * (uint64_t)MS);
    ck_assert_int_eq(l.type, COPPICE_SEMANTIC);
    ck_assert(!lives(LEARN_AFTER, 4096, 0, MS));
    ck_assert(lives(LEARN_AFTER, 4096, 0, MS));
    ck_assert_int_eq(l.type, COPPICE_PROCEDURAL);
    begin(), l.host = true;
    ck_assert(!lives(LEARN_AFTER, 4096, 0, 5000 * (uint64_t)MS));
}
END_TEST

SUITE("learn", begin, NULL, nothing_is_learned_from_too_little, equal_sizes_are_procedural, short_lives_of_all_sizes_are_episodic, long_lives_are_semantic,
      what_is_neither_stays_untyped, one_odd_window_changes_nothing, host_lifetimes_come_first)
