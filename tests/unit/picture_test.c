/* picture.h: the sum of a page does not depend on how it was uploaded, and says whether it was. */
#include "device/picture.h"
#include "suite.h"
#include <stdlib.h>
#include <string.h>

static unsigned char page[PICTURE_BYTES];
static void begin(void) {
    for (unsigned i = 0; i < PICTURE_BYTES; i++) page[i] = (unsigned char)(i * 2654435761u >> 13);
}
static void add(struct picture *p, uint32_t from, uint32_t to) { picture_add(p, from, to - from, picture_sum(from, page + from, to - from)); }

/* Random cuts, in random order. */
static struct picture in_pieces(unsigned seed) {
    struct picture p = { 0 };
    uint32_t cut[6] = { 0, 0, 0, 0, 0, PICTURE_BYTES };
    srand(seed);
    for (unsigned i = 1; i < 5; i++) cut[i] = (uint32_t)rand() % PICTURE_BYTES;
    for (unsigned i = 1; i < 5; i++)
        for (unsigned j = i + 1; j < 5; j++)
            if (cut[j] < cut[i]) { uint32_t t = cut[i]; cut[i] = cut[j], cut[j] = t; }
    unsigned order[5] = { 0, 1, 2, 3, 4 };
    for (unsigned i = 4; i > 0; i--) { unsigned j = (unsigned)rand() % (i + 1), t = order[i]; order[i] = order[j], order[j] = t; }
    for (unsigned i = 0; i < 5; i++) add(&p, cut[order[i]], cut[order[i] + 1]);
    return p;
}

START_TEST(the_sum_is_the_same_however_it_was_cut) {
    struct picture whole = { 0 };
    add(&whole, 0, PICTURE_BYTES);
    ck_assert(picture_is_complete(&whole, PICTURE_BYTES));
    for (unsigned seed = 1; seed < 200; seed++) {
        struct picture p = in_pieces(seed);
        ck_assert(picture_is_complete(&p, PICTURE_BYTES) && p.sum == whole.sum);
    }
}
END_TEST

START_TEST(one_other_byte_or_two_that_change_places_are_another_sum) {
    enum { STRIDE = PICTURE_ROW * PICTURE_EVERY };
    uint64_t was = picture_sum(0, page, PICTURE_BYTES);
    for (unsigned i = 0; i < 64; i++) {
        /* of the rows that count */
        uint32_t at = i * STRIDE % PICTURE_BYTES + i * 37 % PICTURE_ROW, other = (at + STRIDE * (i % 8 + 1)) % PICTURE_BYTES;
        page[at] ^= 1;
        ck_assert(picture_sum(0, page, PICTURE_BYTES) != was);
        page[at] ^= 1;
        if (page[at] == page[other]) continue;
        unsigned char t = page[at];
        page[at] = page[other], page[other] = t;
        ck_assert(picture_sum(0, page, PICTURE_BYTES) != was);
        t = page[at], page[at] = page[other], page[other] = t;
    }
}
END_TEST

START_TEST(padding_counts_as_uploaded_and_a_hole_does_not) {
    struct picture p = { 0 }, q = { 0 };
    add(&p, 100, 500000), add(&p, 500000 + PICTURE_GAP, PICTURE_BYTES - 7);
    ck_assert(picture_is_complete(&p, PICTURE_BYTES));
    add(&q, 0, 500000), add(&q, 500001 + PICTURE_GAP, PICTURE_BYTES);
    ck_assert(!picture_is_complete(&q, PICTURE_BYTES));
    add(&q, 500100, 500200);
    ck_assert(picture_is_complete(&q, PICTURE_BYTES));
    struct picture tail = { 0 };
    add(&tail, 0, 1000000);
    ck_assert(picture_is_complete(&tail, 1000500) && !picture_is_complete(&tail, 1100000));
}
END_TEST

START_TEST(what_is_uploaded_again_begins_anew) {
    struct picture p = { 0 }, whole = { 0 };
    add(&whole, 0, PICTURE_BYTES);
    add(&p, 0, PICTURE_BYTES), add(&p, 5, 10);
    ck_assert(!picture_is_complete(&p, PICTURE_BYTES));
    add(&p, 10, PICTURE_BYTES), add(&p, 0, 5);
    ck_assert(picture_is_complete(&p, PICTURE_BYTES) && p.sum == whole.sum);
}
END_TEST

START_TEST(what_was_written_by_other_means_is_not_known) {
    struct picture p = { 0 };
    add(&p, 0, PICTURE_BYTES / 2);
    picture_spoil(&p, PICTURE_BYTES / 2, 100); /* nothing is known of that yet */
    ck_assert(p.runs == 1);
    picture_spoil(&p, 100, 1);
    ck_assert(p.runs == 0 && p.sum == 0);
}
END_TEST

START_TEST(too_many_holes_are_given_up_until_it_begins_anew) {
    struct picture p = { 0 };
    for (uint32_t i = 0; i < PICTURE_RUNS + 3; i++) add(&p, 100000 * i + 50000, 100000 * i + 60000);
    ck_assert(!picture_is_complete(&p, PICTURE_BYTES));
    add(&p, 0, PICTURE_BYTES);
    ck_assert(picture_is_complete(&p, PICTURE_BYTES));
}
END_TEST

SUITE("picture", begin, NULL, the_sum_is_the_same_however_it_was_cut, one_other_byte_or_two_that_change_places_are_another_sum,
      padding_counts_as_uploaded_and_a_hole_does_not, what_is_uploaded_again_begins_anew, what_was_written_by_other_means_is_not_known,
      too_many_holes_are_given_up_until_it_begins_anew)
