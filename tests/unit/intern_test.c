/* intern_test.c: the table of contents: one address a content, references, order of eviction, ages, colliding hashes, threads. */
#include "base/options.h"
#include "heap/heap.h"
#include "intern/slab.h"
#include "intern/table.h"
#include "stats/totals.h"
#include "coppice/coppice.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND ((uint64_t)1000000000)
#define START (1000 * SECOND)

static void begin(const char *most) {
    setenv("COPPICE_INTERN_MAX_ENTRIES", most, 1);
    options_load();
    ck_assert(heap_init());
    ck_assert(intern_start());
}
static void one_entry(void) { begin("1"); }
static void small_table(void) { begin("8"); }
static void usual_table(void) { begin("10000"); }
static void valid(void) { ck_assert(intern_is_valid()); }

static struct intern_totals now_counted(void) { return intern_totals(counters); }

/* A content that is the text of a number. */
static const void *put_at(unsigned n, uint64_t now) {
    char text[32];
    int length = snprintf(text, sizeof text, "content number %u", n);
    return intern_content(&(struct intern_content){ text, (size_t)length, 0 }, now);
}
static const void *put(unsigned n) { return put_at(n, START); }
/* Is it there? Leaves no reference and no entry of its own where it finds one. */
static bool kept(unsigned n) {
    uint64_t hits = now_counted().hits;
    const void *p = put(n);
    bool hit = now_counted().hits > hits;
    if (p) intern_release_at(p, START);
    return hit;
}

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

START_TEST(any_number_of_tags_is_told_apart) {
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

/* --- references */

START_TEST(what_is_referenced_stays_and_a_full_table_refuses) {
    const void *at[8];
    for (unsigned i = 0; i < 8; i++) ck_assert_ptr_nonnull(at[i] = put(i));
    ck_assert_ptr_null(put(8));
    ck_assert_ptr_null(put(9));
    ck_assert_ptr_eq(put(3), at[3]); /* two references */
    ck_assert(intern_release_at(at[3], START));
    ck_assert_ptr_null(put(8));
    ck_assert(intern_release_at(at[3], START));
    ck_assert_ptr_nonnull(put(8));
    for (unsigned i = 0; i < 8; i++)
        if (i != 3) ck_assert_ptr_eq(put(i), at[i]);
    ck_assert_uint_eq(now_counted().refused, 3);
    ck_assert_uint_eq(now_counted().evictions, 1);
    ck_assert_uint_eq(now_counted().entries, 8);
    valid();
}
END_TEST

START_TEST(a_release_that_is_not_due_changes_nothing) {
    char own[64] = "";
    const char *p = put(1);
    ck_assert(!intern_release_at(NULL, START) && !intern_release_at(own, START) && !intern_release_at(own + 1, START));
    for (int i = 1; i < 16; i++) ck_assert(!intern_release_at(p + i, START) && !intern_release_at(p - i, START));
    ck_assert(!intern_release_at(slab_store.base, START) && !intern_release_at(slab_store.base + slab_store.length, START));
    ck_assert(intern_release_at(p, START));
    ck_assert(!intern_release_at(p, START));
    ck_assert_ptr_eq(put(1), p);
    ck_assert(intern_release_at(p, START));
    ck_assert(!intern_release_at(p, START));
    valid();
}
END_TEST

START_TEST(contents_that_look_like_blocks_cannot_be_released) {
    uint32_t words[64];
    for (unsigned i = 0; i < 64; i++) words[i] = 1;
    const char *p = intern(words, sizeof words, 0);
    for (size_t at = 8; at < sizeof words; at += 8) ck_assert(!intern_release(p + at));
    ck_assert(intern_release(p));
}
END_TEST

/* --- order of eviction */

START_TEST(the_unused_go_first) {
    for (unsigned i = 0; i < 8; i++) intern_release_at(put(i), START + i);
    /* all but new ones are marked by their release; one round takes the marks away */
    intern_release_at(put(100), START);
    ck_assert_uint_eq(now_counted().evictions, 1);
    valid();
    for (unsigned i = 0; i < 100; i++) { /* two that are used all the time stay, whatever passes through */
        put(1000), put(1001);
        intern_release_at(put(1000), START), intern_release_at(put(1001), START);
        intern_release_at(put(2000 + i), START);
    }
    ck_assert(kept(1000) && kept(1001));
    ck_assert_uint_eq(now_counted().entries, 8);
}
END_TEST

START_TEST(marked_entries_outlive_a_round_of_the_hand) {
    for (unsigned i = 0; i < 8; i++) intern_release_at(put(i), START);
    intern_release_at(put(8), START); /* takes all marks away */
    unsigned used[2], n = 0;
    for (unsigned i = 0; i < 8 && n < 2; i += 3)
        if (kept(i)) used[n++] = i;
    for (unsigned i = 20; i < 24; i++) intern_release_at(put(i), START);
    ck_assert_uint_eq(n, 2);
    ck_assert(kept(used[0]) && kept(used[1]));
}
END_TEST

START_TEST(a_stream_with_few_favourites_hits) {
    unsigned hits = 0;
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned n = rand() % 100 < 80 ? (unsigned)rand() % 4 : 100 + (unsigned)rand() % 100000;
        uint64_t before = now_counted().hits;
        intern_release_at(put(n), START);
        hits += n < 4 && now_counted().hits > before;
    }
    ck_assert_uint_gt(hits, 20000 * 70 / 100);
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

START_TEST(memory_of_what_is_gone_is_used_again) {
    static char bytes[3000];
    uint64_t held = 0;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 400; i++) {
            memcpy(bytes, &(unsigned[]){ round * 400 + i }, 4);
            intern_release(intern(bytes, 10 + (i * 97) % 2990, 0));
        }
        if (round == 2) held = now_counted().held_bytes;
    }
    ck_assert_uint_le(now_counted().held_bytes, held + held / 4);
    ck_assert_uint_eq(now_counted().entries, 8);
    ck_assert_uint_lt(now_counted().held_bytes, 100000);
    valid();
}
END_TEST

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

START_TEST(large_contents_that_find_no_room_make_room) {
    static char bytes[SLAB_LENGTH_MOST];
    for (unsigned i = 0; i < 40; i++) { /* the store of a small table has 4 MiB */
        memcpy(bytes, &i, sizeof i);
        const void *p = intern(bytes, sizeof bytes - i * 1000, 0);
        ck_assert_ptr_nonnull(p);
        ck_assert_mem_eq(p, &i, sizeof i);
        intern_release(p);
    }
    ck_assert_uint_gt(now_counted().evictions, 30);
    valid();
}
END_TEST

/* --- a model: what is referenced has one address and its bytes, whatever else happens */

START_TEST(random_use_agrees_with_a_model) {
    intern_hash_bits = (uint64_t)1 << 63;
    enum { KINDS = 24 };
    const char *at[KINDS] = { 0 };
    unsigned references[KINDS] = { 0 }, live = 0;
    char bytes[KINDS];
    srand(5);
    uint64_t now = START, lookups = 0;
    for (unsigned step = 0; step < 60000; step++) {
        unsigned n = (unsigned)rand() % KINDS;
        now += (uint64_t)(rand() % 3) * SECOND + (rand() % 200 == 0 ? 4000 * SECOND : 0);
        if (references[n] && rand() % 5 < 4) {
            ck_assert(intern_release_at(at[n], now));
            if (--references[n] == 0) live--;
        } else {
            memset(bytes, 'a' + (int)n, n);
            const char *p = intern_content(&(struct intern_content){ bytes, n, n % 2 }, now);
            lookups++;
            if (references[n]) ck_assert_ptr_eq(p, at[n]);
            else ck_assert_msg((p != NULL) == (live < 8), "refused though there is room, or the reverse");
            if (!p) continue;
            if (references[n]++ == 0) live++;
            at[n] = p;
            ck_assert(n == 0 || memcmp(p, bytes, n) == 0);
        }
        for (unsigned k = 0; step % 64 == 0 && k < KINDS; k++)
            for (unsigned i = 0; references[k] && i < k; i++) ck_assert_int_eq(at[k][i], 'a' + (int)k);
        if (step % 256 == 0) valid();
    }
    struct intern_totals n = now_counted();
    ck_assert_uint_eq(n.lookups, lookups);
    ck_assert_uint_gt(n.evictions, 100);
    ck_assert_uint_gt(n.expired, 50);
}
END_TEST

/* --- threads: more contents than entries, so that entries change under the readers' hands */

static _Atomic unsigned wrong;

static void *use(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < 40000; i++) {
        unsigned n = (unsigned)rand_r(&seed) % 24;
        char bytes[40];
        memset(bytes, 'a' + (int)n, sizeof bytes);
        struct intern_content c = { bytes, sizeof bytes, 0 };
        const char *p = intern_content(&c, START + i), *q = p ? intern_content(&c, START + i) : NULL;
        if (!p) continue;
        wrong += q != p || memcmp(p, bytes, sizeof bytes) != 0;
        wrong += !intern_release_at(p, START + i) || (q && !intern_release_at(q, START + i));
    }
    return NULL;
}

START_TEST(threads_never_see_another_content) {
    intern_hash_bits = 0; /* each looks at the others' contents, too */
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) pthread_create(&threads[i], NULL, use, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(wrong, 0);
    valid();
    struct intern_totals n = now_counted();
    ck_assert_uint_gt(n.evictions, 100);
    ck_assert_uint_eq(n.lookups - n.refused - n.hits, n.evictions + n.entries); /* every miss made an entry */
    for (unsigned i = 100; i < 108; i++) ck_assert_msg(put(i), "a reference was lost");
}
END_TEST

/* Three contents fight for one entry: nearly every call finds it dying, dead or come alive as another. */
static void *fight(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    char bytes[2048];
    for (unsigned i = 0; i < 10000; i++) {
        memset(bytes, rand_r(&seed) % 3, sizeof bytes);
        struct intern_content c = { bytes, sizeof bytes, 0 };
        const char *p = intern_content(&c, START);
        if (p) wrong += (unsigned)(memcmp(p, bytes, sizeof bytes) != 0) + !intern_release_at(p, START);
    }
    return NULL;
}

START_TEST(threads_fight_for_one_entry) {
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) pthread_create(&threads[i], NULL, fight, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(wrong, 0);
    valid();
    ck_assert_uint_gt(now_counted().evictions, 100);
    ck_assert_msg(put(100), "a reference was lost");
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

static TCase *cases_of(Suite *suite, const char *name, void (*setup)(void)) {
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 60);
    if (setup) tcase_add_checked_fixture(cases, setup, NULL);
    suite_add_tcase(suite, cases);
    return cases;
}

int main(void) {
    Suite *suite = suite_create("intern");
    TCase *usual = cases_of(suite, "10000", usual_table), *small = cases_of(suite, "8", small_table), *none = cases_of(suite, "none", NULL), *one = cases_of(suite, "1", one_entry);
    tcase_add_test(usual, equal_contents_have_one_address);
    tcase_add_test(usual, another_tag_length_or_byte_is_another_content);
    tcase_add_test(usual, every_length_is_kept_whole_and_aligned);
    tcase_add_test(usual, colliding_hashes_are_told_apart);
    tcase_add_test(usual, a_page_of_tiny_contents_has_slots_for_each);
    tcase_add_test(usual, any_number_of_tags_is_told_apart);
    tcase_add_test(usual, interned_bytes_can_be_interned_again);
    tcase_add_test(small, what_is_referenced_stays_and_a_full_table_refuses);
    tcase_add_test(small, a_release_that_is_not_due_changes_nothing);
    tcase_add_test(small, contents_that_look_like_blocks_cannot_be_released);
    tcase_add_test(small, the_unused_go_first);
    tcase_add_test(small, marked_entries_outlive_a_round_of_the_hand);
    tcase_add_test(small, a_stream_with_few_favourites_hits);
    tcase_add_test(usual, old_ones_expire_when_the_interval_has_passed);
    tcase_add_test(usual, use_keeps_young);
    tcase_add_test(usual, a_time_that_goes_back_expires_nothing);
    tcase_add_test(small, memory_of_what_is_gone_is_used_again);
    tcase_add_test(usual, ten_thousand_live_sets_cost_half_of_their_bytes_more_at_most);
    tcase_add_test(usual, ten_thousand_live_encodings_cost_half_of_their_bytes_more_at_most);
    tcase_add_test(small, large_contents_that_find_no_room_make_room);
    tcase_add_test(small, random_use_agrees_with_a_model);
    tcase_add_test(small, threads_never_see_another_content);
    tcase_add_test(one, threads_fight_for_one_entry);
    tcase_add_test(usual, numbers_are_what_was_done);
    tcase_add_test(none, switched_off_there_is_no_table);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
