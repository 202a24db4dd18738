/* Level sequences of trees: their numbers against recurrences that know nothing of sequences, and the laws of order. */
#include "dtesn/trees.h"
#include "suite.h"
#include <stdio.h>
#include <string.h>

/* --- independent counts: by what a tree is made of, not by its sequence */

/* A000081: n a(n+1) = sum over k of (sum over d | k of d a(d)) a(n-k+1). */
static uint64_t rooted(unsigned nodes) {
    uint64_t a[TREE_LEVELS + 2] = { 0, 1 };
    for (unsigned n = 1; n < nodes; n++) {
        uint64_t sum = 0;
        for (unsigned k = 1; k <= n; k++) {
            uint64_t divisors = 0;
            for (unsigned d = 1; d <= k; d++) divisors += k % d == 0 ? d * a[d] : 0;
            sum += divisors * a[n - k + 1];
        }
        a[n + 1] = sum / n;
    }
    return a[nodes];
}

/* Multisets of at most `most` trees with `nodes` nodes in all: the branches of a root, with planted branches of size <= size. */
static uint64_t choose_with_repetition(uint64_t n, unsigned k) {
    uint64_t result = 1;
    for (unsigned i = 0; i < k; i++) result = result * (n + i) / (i + 1);
    return result;
}
static uint64_t bounded(unsigned nodes, unsigned most);
static uint64_t forests(unsigned nodes, unsigned most, unsigned size, unsigned limit) {
    if (nodes == 0) return 1;
    if (size == 0) return 0;
    uint64_t sum = 0;
    for (unsigned k = 0; k <= most && k * size <= nodes; k++)
        sum += choose_with_repetition(bounded(size, limit), k) * forests(nodes - k * size, most - k, size - 1, limit);
    return sum;
}
static uint64_t bounded(unsigned nodes, unsigned most) { return nodes == 1 ? 1 : forests(nodes - 1, most, nodes - 1, most); }

/* A000108: the first branch and the rest. */
static uint64_t ordered(unsigned nodes) {
    uint64_t c[TREE_LEVELS + 1] = { 0, 1 };
    for (unsigned n = 2; n <= nodes; n++)
        for (unsigned first = 1; first < n; first++) c[n] += c[first] * c[n - first];
    return c[nodes];
}

static uint64_t expected(enum tree_pattern pattern, unsigned nodes) {
    switch (pattern) {
    case TREE_ROOTED: return rooted(nodes);
    case TREE_BINARY: return bounded(nodes, 2);
    case TREE_TERNARY: return bounded(nodes, 3);
    case TREE_ORDERED: return ordered(nodes);
    default: return nodes == 1 ? 1 : nodes == 2 ? TREE_TYPES : 0;
    }
}

static struct tree parse(const char *levels) {
    struct tree t = { .nodes = (uint8_t)strlen(levels) };
    for (unsigned i = 0; i < t.nodes; i++) t.level[i] = (uint8_t)(levels[i] - '0');
    return t;
}
static const char *text(const struct tree *t) {
    static char s[TREE_LEVELS + 1];
    for (unsigned i = 0; i < t->nodes; i++) s[i] = (char)('0' + t->level[i]);
    s[t->nodes] = 0;
    return s;
}

/* All trees of `nodes` nodes, in the order in which children come. */
enum { TREES_MOST = 1430 }; /* ordered ones of nine nodes */
struct level { unsigned count; struct tree tree[TREES_MOST]; };
static void collect(enum tree_pattern pattern, const struct tree *t, unsigned nodes, struct level *level) {
    struct tree child;
    if (t->nodes == nodes) {
        ck_assert_uint_lt(level->count, TREES_MOST);
        level->tree[level->count++] = *t;
        return;
    }
    for (unsigned below = TREE_FIRST; tree_child(pattern, t, &below, &child);) collect(pattern, &child, nodes, level);
}
static const struct level *level_of(enum tree_pattern pattern, unsigned nodes) {
    static struct level level;
    struct tree root = tree_root();
    level.count = 0;
    collect(pattern, &root, nodes, &level);
    return &level;
}
static uint64_t count_of(enum tree_pattern pattern, unsigned nodes) {
    uint64_t count[TREE_LEVELS] = { 0 };
    struct tree root = tree_root();
    tree_count_levels(pattern, &root, nodes, count);
    return count[nodes - 1];
}

/* --- */

START_TEST(levels_hold_as_many_trees_as_the_recurrences_say) {
    static const uint64_t published[] = { 1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766 };
    for (int pattern = TREE_ROOTED; pattern <= TREE_FLAT; pattern++)
        for (unsigned n = 1; n <= TREE_LEVELS; n++)
            ck_assert_msg(count_of((enum tree_pattern)pattern, n) == expected((enum tree_pattern)pattern, n), "pattern %d, level %u: %llu trees, not %llu", pattern, n,
                          (unsigned long long)count_of((enum tree_pattern)pattern, n), (unsigned long long)expected((enum tree_pattern)pattern, n));
    for (unsigned n = 1; n <= TREE_LEVELS; n++) ck_assert_uint_eq(count_of(TREE_ROOTED, n), published[n - 1]);
    static const uint64_t binary[] = { 1, 1, 2, 3, 6, 11, 23, 46, 98, 207, 451, 983 }, ternary[] = { 1, 1, 2, 4, 8, 17, 39, 89, 211, 507, 1238, 3057 };
    for (unsigned n = 1; n <= TREE_LEVELS; n++) {
        ck_assert_uint_eq(count_of(TREE_BINARY, n), binary[n - 1]);
        ck_assert_uint_eq(count_of(TREE_TERNARY, n), ternary[n - 1]);
    }
}
END_TEST

START_TEST(the_first_levels_are_enumerated_in_order) {
    static const char *const order[] = { "0", "01", "012", "011", "0123", "0122", "0121", "0111", "01234", "01233", "01232", "01231", "01222", "01221", "01212", "01211", "01111" };
    unsigned i = 0;
    for (unsigned nodes = 1; nodes <= 5; nodes++) {
        const struct level *l = level_of(TREE_ROOTED, nodes);
        for (unsigned k = 0; k < l->count; k++) ck_assert_str_eq(text(&l->tree[k]), order[i++]);
    }
    ck_assert_uint_eq(i, sizeof order / sizeof *order);
}
END_TEST

START_TEST(the_four_subtrees_have_their_numbers_of_membranes) {
    static const struct { const char *root; uint64_t membranes; } subtrees[] = { { "0123", 155 }, { "0122", 25 }, { "0121", 11 }, { "0111", 5 } };
    for (unsigned i = 0; i < 4; i++) {
        struct tree t = parse(subtrees[i].root);
        uint64_t sum = 0, count[TREE_LEVELS] = { 0 };
        tree_count_levels(TREE_ROOTED, &t, 8, count);
        for (unsigned n = 4; n <= 8; n++) sum += count[n - 1];
        ck_assert_uint_eq(sum, subtrees[i].membranes);
    }
}
END_TEST

/* Is it the greatest of all orders of its branches? By exchanging any two neighbouring branches of any node. */
static bool greatest(const struct tree *t) {
    for (unsigned a = 1; a < t->nodes; a++) {
        unsigned b = a + 1, c;
        while (b < t->nodes && t->level[b] > t->level[a]) b++;
        if (b >= t->nodes || t->level[b] != t->level[a]) continue;
        for (c = b + 1; c < t->nodes && t->level[c] > t->level[a];) c++;
        struct tree swapped = *t;
        memcpy(swapped.level + a, t->level + b, c - b);
        memcpy(swapped.level + a + (c - b), t->level + a, b - a);
        if (memcmp(swapped.level, t->level, t->nodes) > 0) return false;
    }
    return true;
}

START_TEST(every_sequence_is_canonical_and_none_is_missed) {
    for (unsigned n = 1; n <= 9; n++) {
        /* all sequences that are trees at all, in ordered form, filtered */
        uint64_t canonical = 0;
        const struct level *l = level_of(TREE_ORDERED, n);
        for (unsigned i = 0; i < l->count; i++) canonical += greatest(&l->tree[i]);
        ck_assert_uint_eq(canonical, count_of(TREE_ROOTED, n));
        l = level_of(TREE_ROOTED, n);
        for (unsigned i = 0; i < l->count; i++) ck_assert_msg(greatest(&l->tree[i]), "%s", text(&l->tree[i]));
    }
}
END_TEST

START_TEST(children_come_in_order_the_greatest_first) {
    for (int p = TREE_ROOTED; p <= TREE_FLAT; p++)
        for (unsigned n = 1; n <= 9 && n <= tree_deepest((enum tree_pattern)p); n++) {
            const struct level *l = level_of((enum tree_pattern)p, n);
            ck_assert_uint_eq(l->count, count_of((enum tree_pattern)p, n));
            for (unsigned i = 1; i < l->count; i++) ck_assert(memcmp(l->tree[i - 1].level, l->tree[i].level, n) > 0);
        }
}
END_TEST

START_TEST(no_node_has_more_branches_than_the_pattern_allows) {
    static const unsigned most[] = { [TREE_BINARY] = 2, [TREE_TERNARY] = 3 };
    for (int p = TREE_BINARY; p <= TREE_TERNARY; p++) {
        const struct level *l = level_of((enum tree_pattern)p, 9);
        for (const struct tree *t = l->tree; t < l->tree + l->count; t++)
            for (unsigned i = 0; i < t->nodes; i++) {
                unsigned branches = 0;
                for (unsigned j = i + 1; j < t->nodes && t->level[j] > t->level[i]; j++) branches += t->level[j] == t->level[i] + 1;
                ck_assert_uint_le(branches, most[p]);
            }
    }
}
END_TEST

SUITE("trees", NULL, NULL,
      levels_hold_as_many_trees_as_the_recurrences_say, the_first_levels_are_enumerated_in_order, the_four_subtrees_have_their_numbers_of_membranes,
      every_sequence_is_canonical_and_none_is_missed, children_come_in_order_the_greatest_first,
      no_node_has_more_branches_than_the_pattern_allows)
