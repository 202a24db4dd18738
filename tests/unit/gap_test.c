/* Gaps of shared pages: the smallest that fits is found at the asked edge, extents never overlap, freed neighbours become
 * one gap, and the sums hold after every one of many random steps. */
#include "device/gap.h"
#include "suite.h"
#include <stdlib.h>

enum { SHARES = 16, HELD = 400 };
static struct gaps gaps;
static int pages[SHARES];

static void setup(void) { ck_assert(gaps_open(&gaps, SHARES)); }
static struct extent take(uint32_t length) {
    struct extent gap = gaps_find_anywhere(&gaps, length);
    return gap.share ? gaps_take(&gaps, gap, length, GAP_MIDDLE) : gap;
}

START_TEST(a_new_share_is_one_gap_at_both_edges) {
    struct share *s = gaps_add(&gaps, pages);
    ck_assert_ptr_eq(gaps_find(&gaps, GAP_FRONT, GRANULES).share, s);
    ck_assert_ptr_eq(gaps_find(&gaps, GAP_BACK, 1).share, s);
    ck_assert_ptr_null(gaps_find(&gaps, GAP_MIDDLE, 1).share);
    ck_assert(share_is_empty(s) && gaps.free == GRANULES);
}
END_TEST

START_TEST(each_edge_is_served_at_its_edge) {
    gaps_add(&gaps, pages);
    struct extent front = gaps_take(&gaps, gaps_find(&gaps, GAP_FRONT, 100), 100, GAP_FRONT);
    struct extent back = gaps_take(&gaps, gaps_find(&gaps, GAP_BACK, 200), 200, GAP_BACK);
    ck_assert(front.at == 0 && back.at == GRANULES - 200);
    ck_assert_ptr_null(gaps_find(&gaps, GAP_FRONT, 1).share);
    ck_assert_ptr_null(gaps_find(&gaps, GAP_BACK, 1).share);
    ck_assert_uint_eq(gaps_find(&gaps, GAP_MIDDLE, 1).length, GRANULES - 300);
    gaps_give(&gaps, front);
    ck_assert_uint_eq(gaps_largest(&gaps, GAP_FRONT).length, GRANULES - 200);
    ck_assert_ptr_null(gaps_find(&gaps, GAP_MIDDLE, 1).share);
}
END_TEST

START_TEST(the_smallest_gap_that_fits_is_found) {
    struct extent e[3];
    gaps_add(&gaps, pages);
    uint32_t lengths[] = { 70, 50, 60 };
    for (int i = 0; i < 3; i++) e[i] = take(lengths[i]), take(10);
    for (int i = 0; i < 3; i++) gaps_give(&gaps, e[i]);
    ck_assert_uint_eq(gaps_find_anywhere(&gaps, 55).length, 60);
    ck_assert_uint_eq(gaps_find_anywhere(&gaps, 61).length, 70);
    ck_assert_uint_eq(gaps_find_anywhere(&gaps, 50).length, 50);
}
END_TEST

START_TEST(a_lost_extent_keeps_its_place_and_leaves_the_share_empty) {
    struct share *s = gaps_add(&gaps, pages);
    struct extent a = take(10), b = take(20);
    gaps_lose(a);
    ck_assert(!share_is_empty(s));
    gaps_give(&gaps, b);
    ck_assert(share_is_empty(s));
    gaps_remove(&gaps, s);
    ck_assert_uint_eq(gaps.free, 0);
    ck_assert_ptr_eq(gaps_add(&gaps, pages), s);
}
END_TEST

static bool overlap(struct extent a, struct extent b) { return a.share == b.share && a.at < b.at + b.length && b.at < a.at + a.length; }

START_TEST(random_steps_keep_extents_apart_and_sums_right) {
    static struct extent held[HELD];
    srandom(5);
    uint64_t taken = 0;
    for (int step = 0; step < 20000; step++) {
        struct extent *e = &held[random() % HELD];
        if (e->share) {
            ck_assert_ptr_eq(gaps_extent_at(e->share, e->at + e->length - 1).share, e->share);
            struct share *s = e->share;
            gaps_give(&gaps, *e), taken -= e->length;
            if (share_is_empty(s)) gaps_remove(&gaps, s);
            e->share = NULL;
        } else {
            uint32_t length = 1 + (uint32_t)random() % (random() % 4 ? 64 : 2000);
            struct extent got = take(length);
            if (!got.share && gaps.free + taken < (uint64_t)SHARES * GRANULES && gaps_add(&gaps, pages)) got = take(length);
            bool apart = true;
            for (int i = 0; got.share && i < HELD; i++) apart &= !held[i].share || !overlap(got, held[i]);
            ck_assert(apart);
            *e = got, taken += got.length;
        }
        if (step % 64 == 0) ck_assert(gaps_are_valid(&gaps));
    }
    for (uint32_t i = 0; i < gaps.count; i++) ck_assert_uint_lt(gaps.share[i]->number, SHARES);
    gaps_clear(&gaps);
    ck_assert_uint_eq(gaps.free, 0);
}
END_TEST

SUITE("gap", setup, NULL, a_new_share_is_one_gap_at_both_edges, each_edge_is_served_at_its_edge, the_smallest_gap_that_fits_is_found,
      a_lost_extent_keeps_its_place_and_leaves_the_share_empty, random_steps_keep_extents_apart_and_sums_right)
