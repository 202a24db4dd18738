/* Budgets: the law that membranes.h states, in single steps, after a million random ones, and at every instant while
 * threads are at it. */
#include "dtesn/membranes.h"
#include "coppice/coppice.h"
#include "suite.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1ll << 30)
static struct membranes t;
static struct dtesn_counters seen;

static void begin(void) { memset(&seen, 0, sizeof seen), ck_assert(membranes_make(&t, TREE_ROOTED, 8, 8 * GIB, &seen)); }
static void end(void) { membranes_unmake(&t); }

static int64_t budget(uint32_t id) { return atomic_load(&t.node[id].budget); }
static int64_t held(uint32_t id) { return atomic_load(&t.node[id].own) + atomic_load(&t.node[id].over); }
static int64_t held_by_all(void) {
    int64_t sum = 0;
    for (uint32_t id = 0; id < t.count; id++) sum += held(id);
    return sum;
}

/* What readers see is what is there. */
static void check_sums(void) {
    int64_t budgets[COUNTER_LEVELS] = { 0 }, holds[COUNTER_LEVELS] = { 0 }, over = 0;
    ck_assert(membranes_are_valid(&t));
    for (uint32_t id = 0; id < t.count; id++) {
        budgets[t.node[id].level - 1] += budget(id), holds[t.node[id].level - 1] += held(id);
        over += atomic_load(&t.node[id].over);
    }
    for (unsigned i = 0; i < t.depth; i++) {
        ck_assert_uint_eq(counter_get(&seen.level[i].budget_bytes), (uint64_t)budgets[i]);
        ck_assert_uint_eq(counter_get(&seen.level[i].held_bytes), (uint64_t)holds[i]);
        if (i > 0) ck_assert_int_le(budgets[i], budgets[i - 1]);
    }
    ck_assert_uint_eq(counter_get(&seen.over_bytes), (uint64_t)over);
    ck_assert_int_eq(atomic_load(&t.own) + atomic_load(&t.over), held_by_all());
    ck_assert_int_eq(budget(0), t.node[0].share);
}

static uint32_t deepest_of(enum coppice_type type) { return membranes_place(&t, type, 0, 1).id; }

START_TEST(a_new_tree_has_the_whole_limit_at_its_root_and_a_part_at_every_level) {
    static const uint64_t membranes[] = { 1, 1, 2, 4, 9, 20, 48, 115 };
    check_sums();
    ck_assert_int_eq(budget(0), 8 * GIB);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_uint_eq(counter_get(&seen.level[i].membranes), membranes[i]);
        ck_assert_int_ge((int64_t)counter_get(&seen.level[i].budget_bytes), (int64_t)(8 - i) * GIB - 1000);
        ck_assert_int_le((int64_t)counter_get(&seen.level[i].budget_bytes), (int64_t)(8 - i) * GIB);
    }
}
END_TEST

START_TEST(every_pattern_and_depth_makes_a_valid_tree_with_room_for_every_type_and_size) {
    for (int pattern = TREE_ROOTED; pattern <= TREE_FLAT; pattern++)
        for (unsigned depth = 1; depth <= (pattern == TREE_ORDERED ? 9 : 12); depth++) {
            membranes_unmake(&t);
            memset(&seen, 0, sizeof seen);
            ck_assert(membranes_make(&t, (enum tree_pattern)pattern, depth, 1000003, &seen));
            check_sums();
            ck_assert_uint_eq(counter_get(&seen.depth), pattern == TREE_FLAT && depth > 2 ? 2 : depth);
            for (enum coppice_type type = 0; type < COPPICE_TYPES; type++)
                for (unsigned bits = 0; bits < 64; bits++)
                    for (unsigned i = 0; i < 4; i++) {
                        struct place p = membranes_place(&t, type, i * 0x55555555u, 1ull << bits);
                        ck_assert_uint_lt(p.id, t.count);
                        ck_assert_uint_eq(t.node[p.id].level, p.level);
                    }
        }
}
END_TEST

START_TEST(each_type_has_a_subtree_of_its_own_and_large_requests_lie_above) {
    static const unsigned membranes[] = { 155, 25, 11, 5 };
    for (unsigned type = 0; type < 4; type++) {
        struct place small = membranes_place(&t, type + 1, 0, 4096), large = membranes_place(&t, type + 1, 0, 100 * GIB);
        ck_assert_uint_eq(small.level, 8);
        ck_assert_uint_eq(large.id, 0);
        uint32_t top = small.id;
        while (t.node[top].level > 4) top = t.node[top].parent;
        ck_assert_uint_eq(t.node[top].end - top, membranes[type]);
        for (uint32_t site = 0; site < 1000; site++) {
            struct place p = membranes_place(&t, type + 1, site * 0x9e3779b1u, 4096);
            ck_assert(p.id >= top && p.id < t.node[top].end);
        }
        unsigned level = 8;
        for (uint64_t size = 4096; size < 64ull * GIB; size *= 2) {
            struct place p = membranes_place(&t, type + 1, 77, size);
            ck_assert_uint_le(p.level, level);
            level = p.level;
        }
    }
}
END_TEST

START_TEST(what_fits_is_compliant_and_what_does_not_is_borrowed) {
    uint32_t id = deepest_of(COPPICE_PROCEDURAL);
    uint64_t share = (uint64_t)budget(id);
    ck_assert_int_eq(membranes_take(&t, id, share), MEMBRANES_COMPLIANT);
    ck_assert_int_eq(membranes_take(&t, id, 1), MEMBRANES_BORROWED);
    ck_assert_int_eq(budget(id), (int64_t)share + 1);
    check_sums();
    membranes_release(&t, id, share + 1);
    ck_assert_int_eq(membranes_take(&t, id, share + 1), MEMBRANES_COMPLIANT); /* demand has moved it here */
    membranes_release(&t, id, share + 1);
    check_sums();
    ck_assert_int_eq(held_by_all(), 0);
}
END_TEST

START_TEST(unused_budget_of_others_is_called_in_but_never_all_of_it) {
    uint32_t id = deepest_of(COPPICE_EMOTIONAL);
    uint64_t most = 8ull * GIB - 8ull * GIB / 200;
    ck_assert_int_eq(membranes_take(&t, id, most), MEMBRANES_BORROWED);
    check_sums();
    for (uint32_t i = 0; i < t.count; i++) ck_assert_int_gt(budget(i), 0);
    ck_assert_int_eq(membranes_take(&t, id, 8ull * GIB / 200), MEMBRANES_FULL);
    ck_assert_int_eq((int64_t)most, held_by_all());
    membranes_release(&t, id, most);
    for (uint64_t second = 0; second < 200; second++) membranes_settle(&t, second);
    check_sums();
    ck_assert_int_eq(budget(id), t.node[id].share); /* given back */
}
END_TEST

START_TEST(full_is_said_and_what_is_held_over_comes_under_the_limit_later) {
    uint32_t a = deepest_of(COPPICE_EPISODIC), b = deepest_of(COPPICE_SEMANTIC);
    uint64_t limit = 8ull * GIB, most = limit - limit / 200;
    membranes_take(&t, a, most);
    ck_assert_int_eq(membranes_take(&t, b, GIB), MEMBRANES_FULL);
    membranes_take_over(&t, b, GIB);
    check_sums();
    ck_assert_uint_eq(counter_get(&seen.over_bytes), GIB);
    membranes_move(&t, b, t.node[b].parent, GIB / 2);
    check_sums();
    ck_assert_uint_eq(counter_get(&seen.over_bytes), GIB);
    membranes_release(&t, a, most);
    membranes_settle(&t, 1);
    check_sums();
    ck_assert_uint_eq(counter_get(&seen.over_bytes), 0);
    ck_assert_int_eq(held_by_all(), GIB);
    membranes_release(&t, b, GIB / 2), membranes_release(&t, t.node[b].parent, GIB / 2);
    check_sums();
    ck_assert_int_eq(held_by_all(), 0);
}
END_TEST

START_TEST(held_memory_takes_its_budget_along) {
    uint32_t id = deepest_of(COPPICE_EPISODIC), parent = t.node[id].parent;
    int64_t before = budget(id), above = budget(parent);
    membranes_take(&t, id, 1000);
    membranes_move(&t, id, parent, 1000);
    ck_assert_int_eq(budget(id), before - 1000);
    ck_assert_int_eq(budget(parent), above);
    ck_assert_int_eq(held(parent), 1000);
    check_sums();
    membranes_move(&t, parent, 0, 1000);
    check_sums();
    membranes_move(&t, 0, id, 1000);
    check_sums();
    ck_assert_int_eq(budget(id), before);
    ck_assert_int_eq(held(id), 1000);
}
END_TEST

START_TEST(memory_of_an_unknown_holder_comes_off_the_nearest) {
    uint32_t id = deepest_of(COPPICE_PROCEDURAL);
    membranes_take(&t, id, 100), membranes_take(&t, id + 1, 100), membranes_take(&t, 0, 100);
    membranes_release_near(&t, id, 150);
    ck_assert_int_eq(held(id), 0);
    ck_assert_int_eq(held(id + 1), 50);
    membranes_release_near(&t, id, 1000); /* more than there is */
    ck_assert_int_eq(held_by_all(), 0);
    check_sums();
}
END_TEST

START_TEST(only_kin_is_served) {
    for (uint32_t holder = 0; holder < t.count; holder++)
        for (uint32_t asker = 0; asker < t.count; asker++) {
            bool ancestor = false;
            for (uint32_t at = asker;; at = t.node[at].parent) {
                ancestor |= at == holder;
                if (at == 0) break;
            }
            ck_assert_int_eq(membranes_serves(holder, t.node[holder].end, asker), ancestor);
        }
}
END_TEST

/* --- random */

enum { PIECES = 256 };
struct worker {
    unsigned seed;
    struct piece { uint32_t id; uint64_t bytes; } piece[PIECES];
    uint64_t full, borrowed;
};

static void step(struct worker *w, uint64_t n) {
    struct piece *p = &w->piece[rand_r(&w->seed) % PIECES];
    if (n % 5000 == 0) membranes_settle(&t, n / 5000);
    if (p->bytes == 0) {
        uint32_t id = (uint32_t)rand_r(&w->seed) % t.count;
        uint64_t bytes = 1 + (uint64_t)rand_r(&w->seed) % (1u << (rand_r(&w->seed) % 27));
        enum membranes_answer answer = membranes_take(&t, id, bytes);
        if (answer == MEMBRANES_BORROWED) w->borrowed++;
        if (answer == MEMBRANES_FULL) {
            w->full++;
            if (rand_r(&w->seed) % 2) return;
            membranes_take_over(&t, id, bytes);
        }
        *p = (struct piece){ id, bytes };
    } else if (rand_r(&w->seed) % 3 == 0 && p->id != 0) {
        uint32_t to = rand_r(&w->seed) % 2 ? t.node[p->id].parent : 0;
        membranes_move(&t, p->id, to, p->bytes);
        p->id = to;
    } else if (rand_r(&w->seed) % 3 == 0) {
        uint32_t to = p->id + (uint32_t)rand_r(&w->seed) % (t.node[p->id].end - p->id);
        membranes_move(&t, p->id, to, p->bytes);
        p->id = to;
    } else {
        membranes_release(&t, p->id, p->bytes);
        p->bytes = 0;
    }
}

static void let_all_go(struct worker *w) {
    for (struct piece *p = w->piece; p < w->piece + PIECES; p++)
        if (p->bytes) membranes_release(&t, p->id, p->bytes), p->bytes = 0;
}

static void small_tree(unsigned depth) {
    membranes_unmake(&t), memset(&seen, 0, sizeof seen);
    ck_assert(membranes_make(&t, TREE_ROOTED, depth, GIB / 4, &seen));
}

START_TEST(a_million_random_steps_keep_the_law_after_each) {
    static struct worker w;
    uint64_t pieces;
    w = (struct worker){ .seed = 11 };
    small_tree(6);
    for (uint64_t n = 1; n <= 1000000; n++) {
        step(&w, n);
        ck_assert(membranes_are_valid(&t));
        if (n % 1000 != 0) continue;
        check_sums();
        pieces = 0;
        for (int i = 0; i < PIECES; i++) pieces += w.piece[i].bytes;
        ck_assert_int_eq(held_by_all(), (int64_t)pieces);
    }
    ck_assert_uint_gt(w.full, 100);
    ck_assert_uint_gt(w.borrowed, 1000);
    let_all_go(&w);
    check_sums();
    ck_assert_int_eq(held_by_all(), 0);
    ck_assert_int_eq(atomic_load(&t.over), 0);
}
END_TEST

/* A membrane with its children as it was at one instant: read twice with the same answer. (A value that goes and comes
 * back between is possible in theory: sizes are random to the byte.) */
struct family { int64_t budget, free, own, children; };
static bool read_family(uint32_t id, struct family *f) {
    int64_t word[2][64];
    unsigned n = 0;
    for (int round = 0; round < 2; round++) {
        n = 0;
        word[round][n++] = budget(id), word[round][n++] = atomic_load(&t.node[id].free), word[round][n++] = atomic_load(&t.node[id].own);
        for (uint32_t c = id + 1; c < t.node[id].end; c = t.node[c].end) word[round][n++] = budget(c);
    }
    if (memcmp(word[0], word[1], n * sizeof word[0][0]) != 0) return false;
    *f = (struct family){ word[0][0], word[0][1], word[0][2], 0 };
    for (unsigned i = 3; i < n; i++) f->children += word[0][i];
    return true;
}

static _Atomic bool done;
static _Atomic uint64_t broken, looked;
static void *observe(void *unused) {
    unsigned seed = 5;
    (void)unused;
    while (!atomic_load(&done)) {
        struct family f;
        if (!read_family((uint32_t)rand_r(&seed) % t.count, &f)) continue;
        atomic_fetch_add(&looked, 1);
        if (f.children + f.free + f.own > f.budget || f.free < 0 || f.own < 0 || f.children > f.budget) atomic_fetch_add(&broken, 1);
    }
    return NULL;
}

static void *work(void *of) {
    for (uint64_t n = 1; n <= 1000000; n++) step(of, n);
    return NULL;
}

START_TEST(the_law_holds_at_every_instant_while_threads_work) {
    enum { THREADS = 4 };
    static struct worker w[THREADS];
    pthread_t worker[THREADS], observer;
    small_tree(8);
    atomic_store(&done, false);
    pthread_create(&observer, NULL, observe, NULL);
    for (unsigned i = 0; i < THREADS; i++) w[i] = (struct worker){ .seed = i + 1 }, pthread_create(&worker[i], NULL, work, &w[i]);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(worker[i], NULL);
    atomic_store(&done, true);
    pthread_join(observer, NULL);
    ck_assert_uint_eq(atomic_load(&broken), 0);
    ck_assert_uint_gt(atomic_load(&looked), 1000);
    check_sums();
    for (unsigned i = 0; i < THREADS; i++) let_all_go(&w[i]);
    check_sums();
    ck_assert_int_eq(held_by_all(), 0);
}
END_TEST

SUITE("membranes", begin, end,
      a_new_tree_has_the_whole_limit_at_its_root_and_a_part_at_every_level, every_pattern_and_depth_makes_a_valid_tree_with_room_for_every_type_and_size,
      each_type_has_a_subtree_of_its_own_and_large_requests_lie_above, what_fits_is_compliant_and_what_does_not_is_borrowed,
      unused_budget_of_others_is_called_in_but_never_all_of_it, full_is_said_and_what_is_held_over_comes_under_the_limit_later,
      held_memory_takes_its_budget_along, memory_of_an_unknown_holder_comes_off_the_nearest, only_kin_is_served,
      a_million_random_steps_keep_the_law_after_each, the_law_holds_at_every_instant_while_threads_work)
