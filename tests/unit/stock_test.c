/* stock_test.c: references that threads have at hand: what fills a stock, what empties it, and that an entry of which all references are
 * at hand is one without references for everybody else. */
#include "intern/stock.h"
#include "intern_test.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 40 };
static char bytes[BYTES];

static void table_of_8(void) { begin("8"); }
static void usual_table(void) { begin("10000"); }

/* A content by its number, found or added and given back at once. */
static const char *use(unsigned n, uint64_t now) {
    memset(bytes, 'a', sizeof bytes), memcpy(bytes, &n, sizeof n);
    const char *p = intern_content(&(struct intern_content){ bytes, sizeof bytes, 0 }, now);
    if (p) ck_assert(memcmp(p, bytes, sizeof bytes) == 0 && intern_release_at(p, now));
    return p;
}
static void use_often(unsigned n, uint64_t now) {
    for (unsigned i = 0; i < 100; i++) ck_assert_ptr_nonnull(use(n, now));
    ck_assert_ptr_nonnull(stock_own);
}
static uint64_t references(const char *p) { return entry_references(entry_word(slab_entry(slab_id_at(p)))); }
static uint64_t at_hand(const char *p) { return stock_at_hand(slab_id_at(p)); }
static bool is_there(unsigned n, uint64_t now) {
    uint64_t hits = now_counted().hits;
    return use(n, now) && now_counted().hits > hits;
}

/* --- keys */

START_TEST(each_byte_and_the_length_count_in_a_key) {
    static char content[700];
    srand(3);
    for (size_t i = 0; i < sizeof content; i++) content[i] = (char)rand();
    for (size_t length = STOCK_LEAST_LENGTH; length <= STOCK_MOST_LENGTH; length++) {
        const uint64_t key = stock_key(content, length);
        ck_assert(stock_key(memcpy(content + 350, content, length), length) == key); /* wherever it lies */
        ck_assert_msg(stock_key(content, length + 1) != key, "length %zu", length);
        for (size_t i = 0; i < length; i++) {
            content[i] ^= 4;
            ck_assert_msg(stock_key(content, length) != key, "byte %zu of %zu", i, length);
            content[i] ^= 4;
        }
    }
}
END_TEST

/* Fields that vary alone, as those of parameters do, spread over slots. */
START_TEST(keys_of_neighbours_spread) {
    static unsigned char taken[STOCK_SLOTS];
    unsigned slots = 0;
    char content[200] = { 0 };
    for (unsigned n = 0; n < STOCK_SLOTS; n++) {
        memcpy(content + 120, &n, sizeof n);
        slots += !taken[stock_key(content, sizeof content) % STOCK_SLOTS]++;
    }
    ck_assert_uint_gt(slots, STOCK_SLOTS / 2); /* at random: 63 % */
}
END_TEST

/* --- filling and emptying */

START_TEST(what_is_used_often_is_at_hand) {
    const char *p = use(1, START);
    ck_assert_ptr_null(stock_own); /* who asks twice needs none */
    use_often(1, START);
    ck_assert_ptr_eq(use(1, START), p);
    ck_assert_uint_gt(at_hand(p), 0);
    ck_assert_uint_eq(references(p), at_hand(p));
    const uint64_t before = entry_word(slab_entry(slab_id_at(p)));
    use_often(1, START);
    ck_assert_uint_eq(entry_word(slab_entry(slab_id_at(p))), before); /* what other threads use was not written */
    ck_assert_uint_eq(now_counted().hits, 201);
    valid();
}
END_TEST

START_TEST(a_stock_runs_out_and_over) {
    static const char *p[1000];
    use_often(1, START);
    for (unsigned i = 0; i < 1000; i++) p[i] = intern_content(&(struct intern_content){ bytes, sizeof bytes, 0 }, START);
    ck_assert_uint_eq(references(p[0]), 1000 + at_hand(p[0]));
    for (unsigned i = 0; i < 1000; i++) ck_assert(p[i] == p[0] && intern_release_at(p[i], START));
    ck_assert_uint_eq(references(p[0]), at_hand(p[0]));
    ck_assert_uint_le(at_hand(p[0]), STOCK_MOST);
    ck_assert(!intern_release_at(p[0], START)); /* what is at hand is not the program's */
    ck_assert_uint_eq(references(p[0]), at_hand(p[0]));
    valid();
}
END_TEST

START_TEST(a_full_table_has_what_is_only_at_hand) {
    for (unsigned n = 0; n < 8; n++) use_often(n, START);
    const char *p = use(3, START), *kept = intern_content(&(struct intern_content){ bytes, sizeof bytes, 0 }, START);
    use_often(3, START);
    ck_assert_uint_gt(at_hand(p), 0);
    ck_assert_uint_eq(references(p), 1 + at_hand(p));
    for (unsigned n = 8; n < 100; n++) ck_assert_ptr_nonnull(use(n, START));
    ck_assert_uint_gt(now_counted().evictions, 80);
    ck_assert_uint_eq(now_counted().refused, 0);
    memset(bytes, 'a', sizeof bytes), memcpy(bytes, &(unsigned){ 3 }, sizeof(unsigned));
    ck_assert(memcmp(kept, bytes, sizeof bytes) == 0 && is_there(3, START)); /* what is out stays out */
    valid();
}
END_TEST

START_TEST(age_counts_from_the_last_release_and_not_from_the_emptying) {
    use(0, START); /* settles when the next look is due */
    use_often(1, START + 100 * SECOND);
    use_often(2, START + 100 * SECOND);
    const char *p = use(1, START + 290 * SECOND);
    ck_assert_uint_gt(at_hand(p), 0);
    use(9, START + 301 * SECOND); /* empties */
    ck_assert_uint_eq(references(p), 0);
    use_often(3, START + 310 * SECOND);
    use(9, START + 290 * SECOND + 3601 * SECOND); /* 0, and 1 and 2 as of 100 and 290, and not 3 */
    ck_assert_uint_eq(now_counted().expired, 3);
    use(9, START + 310 * SECOND + 3601 * SECOND + 300 * SECOND);
    ck_assert_uint_eq(now_counted().expired, 4);
    valid();
}
END_TEST

START_TEST(use_keeps_young_at_hand) {
    use_often(1, START);
    for (unsigned hour = 1; hour < 50; hour++) {
        ck_assert(is_there(1, START + hour * 3000 * SECOND));
        use_often(1, START + hour * 3000 * SECOND);
    }
    ck_assert(!is_there(1, START + 49 * 3000 * SECOND + 3900 * SECOND));
}
END_TEST

/* Two contents of one key (and table of one line): each is found, whoever has the slot. */
START_TEST(contents_of_one_key_are_told_apart) {
    char one[BYTES] = "one", two[BYTES] = "two";
    use_often(1, START);
    const char *p = intern(one, sizeof one, 1), *q = intern(one, sizeof one, 2); /* tags are not in the key */
    ck_assert(p != q);
    for (unsigned i = 0; i < 1000; i++) {
        const uint32_t tag = 1 + (i * 7 + i / 3) % 2;
        ck_assert_ptr_eq(intern(one, sizeof one, tag), tag == 1 ? p : q);
        ck_assert(intern_release(tag == 1 ? p : q));
    }
    ck_assert(intern(two, sizeof two, 1) != p);
    valid();
    for (unsigned i = 0; i < 2; i++) ck_assert(intern_release(i ? p : q) && !intern_release(i ? p : q));
}
END_TEST

/* The slot of what is in use outlives one content that comes by, and not two. */
START_TEST(a_slot_in_use_is_not_given_away_at_once) {
    const char *p = use(1, START);
    use_often(1, START);
    const uint64_t key = stock_key(bytes, sizeof bytes), before = at_hand(p);
    const char *q = use(2, START);
    ck_assert(intern_content(&(struct intern_content){ bytes, sizeof bytes, 0 }, START) == q);
    stock_note(key, slab_id_at(q));
    ck_assert_uint_eq(at_hand(p), before);
    stock_note(key, slab_id_at(q));
    ck_assert_uint_eq(at_hand(p), 0);
    ck_assert_uint_eq(references(p), 0);
    stock_note(key, slab_id_at(q)); /* the second time that it is wanted it has references */
    ck_assert_uint_eq(at_hand(q), STOCK_LOT);
    ck_assert_uint_eq(references(q), 1 + STOCK_LOT);
    valid();
}
END_TEST

START_TEST(what_changes_between_the_look_and_the_taking_is_not_taken) {
    const char *p = use(1, START);
    use_often(1, START);
    const uint64_t key = stock_key(bytes, sizeof bytes);
    struct stock_slot slot = stock_look(key);
    ck_assert(stock_has(&slot, key));
    stock_empty_all(entry_time_of(START));
    ck_assert(!stock_take(&slot));
    slot = stock_look(key);
    ck_assert(!stock_has(&slot, key));
    ck_assert_uint_eq(references(p), 0);
}
END_TEST

/* --- threads and forks */

static void *use_and_end(void *argument) {
    for (unsigned n = 0; n < 8; n++) use_often(n, START);
    return argument;
}

START_TEST(a_thread_that_ends_gives_back) {
    const char *entry[8];
    for (unsigned n = 0; n < 8; n++) entry[n] = use(n, START);
    const size_t stocks = stock_held();
    for (unsigned i = 0; i < 300; i++) { /* more than there are stocks */
        pthread_t thread;
        ck_assert(pthread_create(&thread, NULL, use_and_end, NULL) == 0 && pthread_join(thread, NULL) == 0);
        for (unsigned n = 0; n < 8; n++) ck_assert_uint_eq(references(entry[n]), 0);
    }
    ck_assert_uint_le(stock_held(), stocks + sizeof(struct stock));
    valid();
}
END_TEST

static pthread_barrier_t barrier;
static void *use_and_wait(void *argument) {
    use_and_end(NULL);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return argument;
}

/* An idle thread's stock is not lost, neither to its process nor to a child, which has no such thread. */
static void all_can_be_evicted(void) {
    for (unsigned n = 100; n < 108; n++) {
        memcpy(bytes, &n, sizeof n);
        ck_assert_ptr_nonnull(intern_content(&(struct intern_content){ bytes, sizeof bytes, 0 }, START));
    }
}

START_TEST(an_idle_threads_stock_is_everybodys) {
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, use_and_wait, NULL);
    pthread_barrier_wait(&barrier);
    pid_t child = fork();
    if (child == 0) {
        const size_t stocks = stock_held();
        use_often(1, START); /* in the stock that was the thread's */
        all_can_be_evicted();
        _exit(intern_is_valid() && stock_held() == stocks ? 0 : 1);
    }
    int status;
    ck_assert(waitpid(child, &status, 0) == child);
    ck_assert_int_eq(status, 0);
    all_can_be_evicted();
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    valid();
}
END_TEST

static void *use_twice(void *argument) {
    for (unsigned i = 0; i < 2; i++) {
        use_and_end(NULL);
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
    }
    return argument;
}

START_TEST(who_ends_the_last_reference_beside_a_stock_makes_room) {
    pthread_t thread;
    const char *p[8];
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, use_twice, NULL);
    pthread_barrier_wait(&barrier);
    for (unsigned n = 0; n < 8; n++) {
        memset(bytes, 'a', sizeof bytes), memcpy(bytes, &n, sizeof n);
        p[n] = intern_content(&(struct intern_content){ bytes, sizeof bytes, 0 }, START);
    }
    ck_assert_ptr_null(use(100, START)); /* all are referenced */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    ck_assert_uint_gt(at_hand(p[3]), 0);
    ck_assert(intern_release_at(p[3], START));
    ck_assert_ptr_nonnull(use(100, START + SECOND)); /* a moment later: nobody looks all the time */
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    valid();
}
END_TEST

static _Atomic bool stop;
static _Atomic unsigned wrong;
static void *use_all_the_time(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    char own[BYTES];
    while (!stop) {
        memset(own, 'a' + rand_r(&seed) % 12, sizeof own);
        const char *p = intern_content(&(struct intern_content){ own, sizeof own, 0 }, START), *q = p ? intern_content(&(struct intern_content){ own, sizeof own, 0 }, START) : NULL;
        if (!p) continue;
        wrong += q != p || memcmp(p, own, sizeof own) != 0;
        wrong += !intern_release_at(p, START) || (q && !intern_release_at(q, START));
    }
    return NULL;
}

/* Emptying goes on while the stocks' owners use them, and entries change: twelve contents in a table of eight. */
START_TEST(stocks_are_emptied_under_their_owners_hands) {
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) pthread_create(&threads[i], NULL, use_all_the_time, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < 20000; i++) {
        stock_empty_all(entry_time_of(START));
        if (i % 16 == 0) sched_yield();
    }
    stop = true;
    for (unsigned i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(wrong, 0);
    stock_empty_all(entry_time_of(START));
    all_can_be_evicted();
    valid();
}
END_TEST

int main(void) {
    return CASES("stock", usual_table, NULL, each_byte_and_the_length_count_in_a_key, keys_of_neighbours_spread, what_is_used_often_is_at_hand,
                 a_stock_runs_out_and_over, age_counts_from_the_last_release_and_not_from_the_emptying, use_keeps_young_at_hand,
                 contents_of_one_key_are_told_apart, a_slot_in_use_is_not_given_away_at_once, what_changes_between_the_look_and_the_taking_is_not_taken) |
           CASES("stock of a full table", table_of_8, NULL, a_full_table_has_what_is_only_at_hand, a_thread_that_ends_gives_back,
                 an_idle_threads_stock_is_everybodys, who_ends_the_last_reference_beside_a_stock_makes_room, stocks_are_emptied_under_their_owners_hands);
}
