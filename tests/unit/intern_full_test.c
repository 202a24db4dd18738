/* intern_full_test.c: the table of contents when it is full: what is referenced stays, who goes first, whose memory is used again; a
 * model, and threads. */
#include "intern_test.h"
#include <pthread.h>

static void small_table(void) { begin("8"); }
static void one_entry(void) { begin("1"); }
/* Is it there? Leaves no reference and no entry of its own where it finds one. */
static bool kept(unsigned n) {
    uint64_t hits = now_counted().hits;
    const void *p = put(n);
    bool hit = now_counted().hits > hits;
    if (p) intern_release_at(p, START);
    return hit;
}

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

int main(void) {
    return CASES("intern full", small_table, NULL, what_is_referenced_stays_and_a_full_table_refuses, a_release_that_is_not_due_changes_nothing,
                 contents_that_look_like_blocks_cannot_be_released, the_unused_go_first, marked_entries_outlive_a_round_of_the_hand,
                 a_stream_with_few_favourites_hits, memory_of_what_is_gone_is_used_again, large_contents_that_find_no_room_make_room,
                 random_use_agrees_with_a_model, threads_never_see_another_content) |
           CASES("one entry", one_entry, NULL, threads_fight_for_one_entry);
}
