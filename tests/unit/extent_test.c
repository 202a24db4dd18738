/* Extents of mapped memory: the smallest that fits is found, blocks leave whole pages, no two overlap, freed neighbours become one,
 * what leaves is nobody's, and the sums hold after every one of many random steps. */
#include "device/extent.h"
#include "suite.h"
#include <stdlib.h>

enum { PAGE = 4096, PAGES = 64, HELD = 400 };
static struct extents all;

static void setup(void) { ck_assert(extents_open(&all, PAGES * PAGE, PAGES / 4 * PAGE)); }
static struct extent *take(uint64_t length) { return extents_take(&all, AREA_LARGE, length); }
static const uint64_t large = PAGES / 4 * PAGE;

START_TEST(neighbours_become_one) {
    ck_assert(extents_add(&all, large, PAGE) && extents_add(&all, large + 2 * PAGE, PAGE));
    ck_assert(!extents_fit(&all, AREA_LARGE, PAGE + 1));
    ck_assert(extents_add(&all, large + PAGE, PAGE));
    struct extent *a = take(PAGE), *b = take(PAGE), *c = take(PAGE);
    ck_assert(a->at == large && b->at == large + PAGE && c->at == large + 2 * PAGE && !take(1));
    extents_give(&all, a), extents_give(&all, c), extents_give(&all, b);
    ck_assert(extents_fit(&all, AREA_LARGE, 3 * PAGE) && extents_are_valid(&all));
}
END_TEST

START_TEST(areas_never_mix) {
    ck_assert(extents_add(&all, large - PAGE, PAGE) && extents_add(&all, large, PAGE));
    ck_assert(!extents_fit(&all, AREA_LARGE, PAGE + 1) && !extents_fit(&all, AREA_SMALL, PAGE + 1));
    ck_assert_uint_eq(extents_take(&all, AREA_SMALL, 5)->at, large - PAGE);
    ck_assert_uint_eq(take(5)->at, large);
    ck_assert(extents_are_valid(&all));
}
END_TEST

START_TEST(the_smallest_that_fits_is_found) {
    struct extent *e[3];
    uint64_t lengths[] = { 70, 50, 60 };
    extents_add(&all, large, PAGE);
    for (int i = 0; i < 3; i++) e[i] = take(lengths[i]), take(10);
    uint64_t fifty = e[1]->at, sixty = e[2]->at, seventy = e[0]->at;
    for (int i = 0; i < 3; i++) extents_give(&all, e[i]);
    ck_assert_uint_eq(take(55)->at, sixty);
    ck_assert_uint_eq(take(61)->at, seventy);
    ck_assert_uint_eq(take(50)->at, fifty);
}
END_TEST

START_TEST(blocks_lie_in_as_few_pages_as_can_be) {
    extents_add(&all, large, 4 * PAGE);
    struct extent *half = take(PAGE / 2), *aligned = take(PAGE + 3 * PAGE / 4);
    ck_assert(half->at == large && aligned->at == large + PAGE); /* two pages, not a half and a quarter beside one */
    ck_assert_uint_eq(take(PAGE / 2)->at, large + PAGE / 2);
    extents_give(&all, aligned), extents_give(&all, extents_at(&all, large + PAGE / 2));
    ck_assert_uint_eq(take(2 * PAGE + PAGE / 2)->at, large + PAGE / 2); /* breaks two whole pages; aligned it would break three */
    ck_assert(extents_are_valid(&all));
}
END_TEST

START_TEST(blocks_leave_pages_whole_at_either_end) {
    const uint64_t quarter = PAGE / 4, other = large + 8 * PAGE;
    extents_add(&all, large, 3 * PAGE + quarter);
    ck_assert_uint_eq(take(quarter)->at, large + 3 * PAGE);
    ck_assert(extents_remove(&all, large, 3 * PAGE));
    extents_add(&all, other - quarter, 3 * PAGE + quarter);
    ck_assert_uint_eq(take(PAGE + quarter)->at, other - quarter);
    ck_assert(extents_remove(&all, other + PAGE, 2 * PAGE) && extents_are_valid(&all));
}
END_TEST

static struct stretch pairs(const struct extents *x, uint64_t at) {
    (void)x;
    return (struct stretch){ at / (2 * PAGE) * 2 * PAGE, (at / (2 * PAGE) + 1) * 2 * PAGE };
}

START_TEST(pages_are_as_large_as_their_owner_says) {
    all.page_around = pairs;
    extents_add(&all, large, 6 * PAGE);
    struct extent *half = take(PAGE / 2), *beside = take(PAGE), *aligned = take(PAGE);
    ck_assert(half->at == large && beside->at == large + PAGE / 2 && aligned->at == large + 2 * PAGE);
    ck_assert(extents_are_valid(&all));
}
END_TEST

START_TEST(what_is_lost_never_serves_and_leaves_with_its_page) {
    extents_add(&all, large, 2 * PAGE);
    struct extent *a = take(10), *b = take(20);
    extents_lose(&all, a);
    ck_assert(!extents_are_idle(&all, large, PAGE) && extents_any_lost(&all, large, PAGE) && !extents_remove(&all, large, PAGE));
    extents_give(&all, b);
    ck_assert(extents_are_idle(&all, large, PAGE) && extents_are_valid(&all));
    ck_assert_uint_eq(take(8)->at, large + 10);
    extents_give(&all, extents_at(&all, large + 10));
    ck_assert(extents_remove(&all, large, PAGE) && extents_are_valid(&all));
    ck_assert(all.lost == 0 && all.free == PAGE && !extents_at(&all, large + PAGE - 1) && extents_at(&all, large + PAGE)->at == large + PAGE);
}
END_TEST

START_TEST(a_position_is_found_wherever_it_lies) {
    extents_add(&all, large, 20 * PAGE);
    struct extent *a = take(15 * PAGE + 7), *b = take(3);
    ck_assert(extents_at(&all, large) == a && extents_at(&all, b->at - 1) == a && extents_at(&all, b->at + 2) == b);
    ck_assert(extents_at(&all, b->at + 3)->state == EXTENT_FREE);
    ck_assert_ptr_null(extents_at(&all, large - 1));
    ck_assert_ptr_null(extents_at(&all, large + 20 * PAGE));
    ck_assert_ptr_null(extents_at(&all, PAGES * PAGE + 5));
}
END_TEST

/* `with` is cached: taken, and not in use. */
static bool is_other(const struct extent *e, void *with) { return e != with; }

START_TEST(what_is_left_beside_blocks_is_counted_once) {
    extents_add(&all, large, 6 * PAGE);
    ck_assert_uint_eq(extents_stranded(&all, is_other, NULL), 0);
    struct extent *a = take(10), *b = take(20), *c = take(PAGE + PAGE / 2), *d = take(2 * PAGE);
    ck_assert(b->at == large + 10 && c->at == large + 30 && d->at == large + 2 * PAGE);
    ck_assert_uint_eq(extents_stranded(&all, is_other, NULL), PAGE / 2 - 30); /* behind c */
    ck_assert_uint_eq(extents_stranded(&all, is_other, b), PAGE / 2 - 10);    /* b's, too: its page has others */
    ck_assert_uint_eq(extents_stranded(&all, is_other, d), PAGE / 2 - 30);    /* not d's: its pages have none */
    extents_lose(&all, a), extents_give(&all, d);
    ck_assert_uint_eq(extents_stranded(&all, is_other, NULL), PAGE / 2 - 20);
    extents_give(&all, b), extents_give(&all, c);
    ck_assert_uint_eq(extents_stranded(&all, is_other, NULL), PAGE); /* for ten granules that are lost */
    ck_assert(extents_are_valid(&all));
}
END_TEST

static bool overlap(const struct extent *a, const struct extent *b) { return a->at < b->at + b->length && b->at < a->at + a->length; }

START_TEST(random_steps_keep_extents_apart_and_sums_right) {
    static struct extent *held[HELD];
    static bool mapped[PAGES];
    uint64_t taken = 0, count = 0;
    srandom(5);
    for (int step = 0; step < 20000; step++) {
        struct extent **e = &held[random() % HELD];
        unsigned page = (unsigned)random() % PAGES;
        enum area area = (enum area)(random() % AREAS);
        if (random() % 16 == 0) {
            bool idle = mapped[page] && extents_are_idle(&all, page * PAGE, PAGE);
            ck_assert_int_eq(mapped[page] ? extents_remove(&all, page * PAGE, PAGE) : extents_add(&all, page * PAGE, PAGE), !mapped[page] || idle);
            count += !mapped[page] ? 1 : -(uint64_t)idle;
            mapped[page] = !mapped[page] || !idle;
        } else if (*e) {
            ck_assert_ptr_eq(extents_at(&all, (*e)->at + (*e)->length - 1), *e);
            taken -= (*e)->length;
            extents_give(&all, *e), *e = NULL;
        } else {
            uint64_t length = 1 + (uint64_t)random() % (random() % 4 ? 64 : 3 * PAGE);
            struct extent *got = extents_take(&all, area, length);
            bool apart = true;
            for (int i = 0; got && i < HELD; i++) apart &= !held[i] || !overlap(got, held[i]);
            ck_assert(apart && (!got || (got->length == length && (got->at >= large) == (area == AREA_LARGE))));
            *e = got, taken += got ? length : 0;
        }
        ck_assert_uint_eq(all.free + taken, count * PAGE);
        if (step % 64 == 0) ck_assert(extents_are_valid(&all));
    }
    extents_clear(&all);
    ck_assert(all.free == 0 && extents_are_valid(&all) && !extents_fit(&all, AREA_LARGE, 1));
}
END_TEST

SUITE("extent", setup, NULL, neighbours_become_one, areas_never_mix, the_smallest_that_fits_is_found, blocks_lie_in_as_few_pages_as_can_be,
      blocks_leave_pages_whole_at_either_end, pages_are_as_large_as_their_owner_says, what_is_lost_never_serves_and_leaves_with_its_page,
      a_position_is_found_wherever_it_lies, what_is_left_beside_blocks_is_counted_once, random_steps_keep_extents_apart_and_sums_right)
