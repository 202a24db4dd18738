/* intern_test.c: the table of contents while it has room: one address a content, colliding hashes, ages, what it costs. */
#include "intern_test.h"

static void usual_table(void) { begin("10000"); }

/* --- one address a content */

START_TEST(equal_contents_have_one_address) {
    char one[] = "temperature=0.7", two[] = "temperature=0.7";
    const char *p = intern(one, sizeof one, 7);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_eq(intern(two, sizeof two, 7), p);
    ck_assert(p != one && p != two);
    ck_assert_str_eq(p, one);
    memset(one, 'x', sizeof one); /* the caller's bytes are the caller's */
    ck_assert_str_eq(p, two);
    size_t length = 0;
    ck_assert(intern_length(p, &length) && length == sizeof two);
    valid();
}
END_TEST

START_TEST(another_tag_length_or_byte_is_another_content) {
    const char bytes[] = "abcdefgh";
    const void *p = intern(bytes, 8, 1), *tag = intern(bytes, 8, 2), *length = intern(bytes, 7, 1), *byte = intern("abcdefgH", 8, 1), *none = intern(NULL, 0, 1);
    const void *all[] = { p, tag, length, byte, none };
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_ptr_nonnull(all[i]);
        for (unsigned j = 0; j < i; j++) ck_assert_ptr_ne(all[i], all[j]);
    }
    ck_assert_ptr_eq(intern("", 0, 1), none);
    ck_assert_ptr_null(intern(NULL, 1, 1));
    valid();
}
END_TEST

START_TEST(every_length_is_kept_whole_and_aligned) {
    static char bytes[SLAB_LENGTH_MOST + 1];
    static const void *at[6000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31 + (i >> 8));
    for (size_t n = 0; n < 6000; n++) {
        ck_assert_ptr_nonnull(at[n] = intern(bytes, n, 0));
        ck_assert_uint_eq((uintptr_t)at[n] % 8, 0);
    }
    for (size_t n = 0; n < 6000; n++) ck_assert_mem_eq(at[n], bytes, n);
    const size_t large[] = { 8184, 8185, 65536, SLAB_LENGTH_MOST - 1, SLAB_LENGTH_MOST };
    for (unsigned i = 0; i < 5; i++) {
        const void *p = intern(bytes, large[i], 0);
        ck_assert_ptr_nonnull(p);
        ck_assert_mem_eq(p, bytes, large[i]);
    }
    ck_assert_ptr_null(intern(bytes, sizeof bytes, 0));
    ck_assert_uint_eq(now_counted().refused, 1);
    valid();
}
END_TEST

START_TEST(colliding_hashes_are_told_apart) {
    intern_hash_bits = 0;
    const void *at[500];
    char text[16];
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 500; i++) {
            snprintf(text, sizeof text, "%06u", i);
            struct intern_content c = { text, 6, 0 };
            const void *p = intern_content(&c, START);
            if (round == 0) at[i] = p;
            ck_assert_ptr_eq(p, at[i]);
            ck_assert_str_eq(p, text);
        }
    ck_assert_uint_eq(now_counted().entries, 500);
    ck_assert_uint_eq(now_counted().hits, 500);
    struct intern_content tagged = { text, 6, 1 };
    ck_assert_ptr_ne(intern_content(&tagged, START), at[499]);
    valid();
}
END_TEST

START_TEST(a_long_content_is_not_its_beginning) {
    static const char bytes[600];
    intern_hash_bits = 0;
    const void *whole = intern(bytes, 600, 0), *beginning = intern(bytes, 400, 0);
    ck_assert(whole && beginning && whole != beginning);
    ck_assert(intern(bytes, 600, 0) == whole && intern(bytes, 400, 0) == beginning);
    valid();
}
END_TEST

START_TEST(any_number_of_tags_is_told_apart) {
    intern_hash_bits = 0; /* the hash knows the tag, too: it shall not be what tells them apart */
    const void *at[40][3];
    static char bytes[400];
    const size_t length[] = { 0, 20, sizeof bytes };
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t tag = 0; tag < 40; tag++)
            for (unsigned i = 0; i < 3; i++) {
                const void *p = intern(bytes, length[i], tag * 0x01010101u);
                if (round == 0) at[tag][i] = p;
                ck_assert(p && p == at[tag][i]);
            }
    ck_assert_uint_eq(now_counted().entries, 120);
    valid();
    for (uint32_t tag = 0; tag < 40; tag++)
        for (unsigned i = 0; i < 3; i++) ck_assert(intern_release(at[tag][i]) && intern_release(at[tag][i]) && !intern_release(at[tag][i]));
}
END_TEST

START_TEST(a_page_of_tiny_contents_has_slots_for_each) {
    static const void *at[3000];
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 3000; i++) {
            const void *p = intern(&(uint16_t){ (uint16_t)i }, 2, COPPICE_PARAMS_TAG);
            if (round == 0) at[i] = p;
            ck_assert(p && p == at[i] && memcmp(p, &(uint16_t){ (uint16_t)i }, 2) == 0);
        }
    valid();
}
END_TEST

START_TEST(interned_bytes_can_be_interned_again) {
    const void *p = intern("inner", 6, 0);
    ck_assert_ptr_eq(intern(p, 6, 0), p);
    const char *q = intern(p, 5, 3);
    ck_assert_mem_eq(q, "inner", 5);
}
END_TEST

/* --- ages */

START_TEST(old_ones_expire_when_the_interval_has_passed) {
    put_at(0, START); /* settles when the next look is due; stays referenced */
    uint64_t later = START + 400 * SECOND;
    intern_release_at(put_at(1, later), later);
    intern_release_at(put_at(2, later + 3000 * SECOND), later + 3000 * SECOND);
    put_at(3, later + 3590 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 0);
    put_at(4, later + 3700 * SECOND); /* 1 is old enough, but the last look was less than the interval ago */
    ck_assert_uint_eq(now_counted().expired, 0);
    put_at(4, later + 3901 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 1);
    ck_assert_uint_eq(now_counted().entries, 4);
    put_at(4, later + 10000 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 2); /* 0, 3 and 4 are referenced: age alone is no reason */
    ck_assert_uint_eq(now_counted().entries, 3);
    ck_assert_uint_eq(now_counted().evictions, 0);
    valid();
}
END_TEST

START_TEST(use_keeps_young) {
    const void *p = put_at(1, START);
    intern_release_at(p, START);
    for (unsigned hour = 1; hour < 20; hour++) { /* each use is within the age of the one before */
        uint64_t now = START + hour * 3000 * SECOND;
        ck_assert_ptr_eq(put_at(1, now), p);
        intern_release_at(p, now);
    }
    p = put_at(2, START + 60000 * SECOND);
    intern_release_at(p, START + 90000 * SECOND); /* it was in use until then */
    put_at(3, START + 93000 * SECOND);
    ck_assert_ptr_eq(put_at(2, START + 93000 * SECOND), p);
    ck_assert_uint_eq(now_counted().expired, 1);
}
END_TEST

START_TEST(a_time_that_goes_back_expires_nothing) {
    intern_release_at(put_at(1, START), START + 9000 * SECOND); /* another thread's clock is ahead of the one that cleans up */
    put_at(2, START + 400 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 0);
    put_at(3, START + 12500 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 0);
    put_at(4, START + 12900 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 1);
}
END_TEST

/* --- memory */

START_TEST(ten_thousand_live_sets_cost_half_of_their_bytes_more_at_most) {
    char bytes[200];
    for (unsigned i = 0; i < 10000; i++) {
        memset(bytes, (int)i, sizeof bytes), memcpy(bytes, &i, sizeof i);
        ck_assert_ptr_nonnull(intern(bytes, sizeof bytes, 0));
    }
    struct intern_totals n = now_counted();
    ck_assert_uint_eq(n.entries, 10000);
    ck_assert_uint_eq(n.bytes_stored, 2000000);
    ck_assert_msg(n.held_bytes <= 3000000, "%llu", (unsigned long long)n.held_bytes);
}
END_TEST

/* Encodings of parameters, as lengths go: 10 to 58 bytes, 34 on average. */
START_TEST(ten_thousand_live_encodings_cost_half_of_their_bytes_more_at_most) {
    char bytes[64];
    for (unsigned i = 0; i < 10000; i++) {
        memset(bytes, (int)i, sizeof bytes), memcpy(bytes, &i, sizeof i);
        ck_assert_ptr_nonnull(intern(bytes, 10 + i * 7919u % 49, COPPICE_PARAMS_TAG));
    }
    struct intern_totals n = now_counted();
    ck_assert_uint_eq(n.entries, 10000);
    ck_assert_msg(n.held_bytes * 2 <= n.bytes_stored * 3, "%.3f", (double)n.held_bytes / (double)n.bytes_stored);
    valid();
}
END_TEST

/* --- numbers */

START_TEST(numbers_are_what_was_done) {
    put(1), put(1), put(2);
    struct intern_totals n = now_counted();
    ck_assert(n.lookups == 3 && n.hits == 1 && n.entries == 2);
    ck_assert(n.bytes_in == 3 * 16 && n.bytes_stored == 2 * 16 && n.bytes_saved == 16);
}
END_TEST

START_TEST(switched_off_there_is_no_table) {
    setenv("COPPICE_INTERN", "off", 1);
    options_load();
    ck_assert(!intern_start());
    ck_assert(!intern_ready());
}
END_TEST

int main(void) {
    return CASES("intern", usual_table, NULL, equal_contents_have_one_address, another_tag_length_or_byte_is_another_content,
                 every_length_is_kept_whole_and_aligned, colliding_hashes_are_told_apart, a_long_content_is_not_its_beginning, a_page_of_tiny_contents_has_slots_for_each,
                 any_number_of_tags_is_told_apart, interned_bytes_can_be_interned_again, old_ones_expire_when_the_interval_has_passed,
                 use_keeps_young, a_time_that_goes_back_expires_nothing, ten_thousand_live_sets_cost_half_of_their_bytes_more_at_most,
                 ten_thousand_live_encodings_cost_half_of_their_bytes_more_at_most, numbers_are_what_was_done) |
           CASES("intern off", NULL, NULL, switched_off_there_is_no_table);
}
