/* look_test.c: a chunk is looked at page by page only where that is worth it, and in the end every page that has come to rest is offered, once. */
#include "intern/look.h"
#include "stats/counters.h"
#include "suite.h"
#include <string.h>
#include <sys/mman.h>

enum { GROUPS = NOTES_GROUPS };
static unsigned char *memory;
static struct look l;
static const struct page_ref first = { 0, 0 };
static uint64_t seed = 1;

static void fill(unsigned page) {
    for (unsigned i = 0; i < REACH_PAGE; i += 8) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        memcpy(memory + (size_t)page * REACH_PAGE + i, &seed, 8);
    }
}
static void fill_all(void) {
    for (unsigned i = 0; i < REACH_PAGES; i++) fill(i);
}

static void begin(void) {
    memory = mmap(NULL, 2 * REACH_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(memory != MAP_FAILED);
    madvise(memory, 2 * REACH_CHUNK, MADV_NOHUGEPAGE);
    memory += -(uintptr_t)memory % REACH_CHUNK;
    ck_assert(notes_ready(0, (uintptr_t)memory, REACH_PAGES) && look_begin());
}
static void end(void) { look_end(); }

/* What share.c does with what is found. */
static unsigned look(bool all) {
    ck_assert(look_at(first, all, &l));
    for (unsigned i = 0; i < l.count; i++) notes_of(first)[l.page[i]] |= NOTE_OFFERED;
    return l.count;
}
static uint64_t pages_read(void) { return counter_get(&counters->intern.pages_looked_at); }

START_TEST(what_rests_is_read_once) {
    fill_all();
    uint64_t before = pages_read();
    ck_assert(look(false) == 0 && l.changed == GROUPS);
    ck_assert(look(false) == REACH_PAGES && l.changed == 0);
    for (unsigned i = 0; i < 10; i++) ck_assert(look(false) == 0 && l.changed == 0);
    ck_assert_uint_eq(pages_read() - before, REACH_PAGES + 12 * GROUPS);
    ck_assert(look(true) == REACH_PAGES && l.changed == 0); /* again, for who has not heard of it */
}
END_TEST

START_TEST(another_content_is_noticed_and_offered) {
    fill_all();
    look(false), look(false);
    fill_all();
    ck_assert(look(false) == 0 && l.changed == GROUPS);
    unsigned found = 0;
    for (unsigned i = 0; i < 4; i++) found += look(false);
    ck_assert_uint_eq(found, REACH_PAGES);
}
END_TEST

START_TEST(one_page_among_known_ones_is_found_in_its_turn) {
    fill_all();
    look(false), look(false);
    fill(77);
    unsigned looks = 0, found = 0;
    for (; looks < NOTES_GROUP + 4; looks++) found += look(false);
    ck_assert_uint_eq(found, 1); /* its neighbours are read again, and are not offered again */
    fill(78);
    ck_assert(look(true) == REACH_PAGES - 1 && l.changed == 1);
}
END_TEST

START_TEST(a_page_that_never_rests_does_not_keep_its_neighbours) {
    fill_all();
    unsigned found = 0;
    for (unsigned i = 0; i < 8; i++) found += look(false), fill(0), fill(NOTES_GROUP + 11);
    ck_assert_uint_ge(found, REACH_PAGES - 2);
}
END_TEST

START_TEST(what_changes_again_and_again_is_read_less_often) {
    uint64_t before = pages_read();
    for (unsigned round = 0; round < 6; round++) {
        fill_all();
        for (unsigned i = 0; i < 3; i++) look(false);
    }
    /* the first two contents as a whole; from the third on it would have to rest for four looks */
    ck_assert_uint_eq(pages_read() - before, 2 * REACH_PAGES + 18 * GROUPS);
    for (unsigned i = 0; i < 3; i++) look(false);
    ck_assert_uint_eq(pages_read() - before, 3 * REACH_PAGES + 21 * GROUPS);
}
END_TEST

START_TEST(what_goes_again_and_again_is_read_less_often) {
    uint64_t before = pages_read();
    for (unsigned round = 0; round < 4; round++) {
        fill_all();
        for (unsigned i = 0; i < 3; i++) look(false);
        ck_assert_int_eq(madvise(memory, REACH_CHUNK, MADV_DONTNEED), 0);
        look(false);
    }
    ck_assert_uint_eq(pages_read() - before, 2 * REACH_PAGES + 12 * GROUPS);
}
END_TEST

START_TEST(zeros_are_known_and_never_offered) {
    memset(memory, 0, REACH_CHUNK);
    fill(3), fill(40);
    look(false);
    ck_assert_uint_eq(look(false), 2);
    uint64_t before = pages_read();
    ck_assert_uint_eq(look(false), 0);
    ck_assert_uint_eq(pages_read() - before, GROUPS);
    ck_assert_uint_eq(look(true), 2);
}
END_TEST

START_TEST(what_goes_is_forgotten) {
    fill_all();
    look(false), look(false);
    ck_assert_int_eq(madvise(memory, NOTES_GROUP * REACH_PAGE, MADV_DONTNEED), 0);
    ck_assert(look(false) == 0 && l.changed == 0);
    ck_assert_uint_eq(*notes_of(first), 0);
    fill(0);
    ck_assert(look(false) == 0 && l.changed == 1);
    ck_assert_uint_eq(look(false), 0); /* its group was read in vain */
    ck_assert_uint_eq(look(false), 1);
}
END_TEST

START_TEST(a_new_page_is_read_alone) {
    fill_all();
    look(false), look(false);
    ck_assert_int_eq(madvise(memory + 5 * REACH_PAGE, REACH_PAGE, MADV_DONTNEED), 0);
    look(false);
    fill(5);
    uint64_t before = pages_read();
    ck_assert(look(false) == 0 && l.changed == 1);
    look(false);
    ck_assert(look(false) == 1 && l.page[0] == 5);
    ck_assert_uint_eq(pages_read() - before, 3 * GROUPS + 1);
}
END_TEST

SUITE("look", begin, end, what_rests_is_read_once, another_content_is_noticed_and_offered, one_page_among_known_ones_is_found_in_its_turn,
      a_page_that_never_rests_does_not_keep_its_neighbours, what_changes_again_and_again_is_read_less_often, what_goes_again_and_again_is_read_less_often, zeros_are_known_and_never_offered, what_goes_is_forgotten, a_new_page_is_read_alone)
