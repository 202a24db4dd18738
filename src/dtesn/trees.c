/* trees.c: see trees.h. All numbers are small (at most 58786 trees a level), so counting is walking. */
#include "dtesn/trees.h"
#include <string.h>

static struct tree appended(const struct tree *t, unsigned level) {
    struct tree longer = *t;
    longer.level[longer.nodes++] = (uint8_t)level;
    return longer;
}

/* The last of the first `end` nodes at `level` whose parent has not ended; -1: there is none. */
static int last_at(const struct tree *t, int end, unsigned level) {
    for (int i = end - 1; i >= 0 && t->level[i] >= level; i--)
        if (t->level[i] == level) return i;
    return -1;
}

/* A branch must not become greater than the one before it. While the last branch at `above` is a copy of the beginning of
 * its neighbour, the next element is at most the one that comes there in the neighbour, or none of this branch at all
 * where that has ended. */
static unsigned at_most(const struct tree *t, unsigned above) {
    int last = last_at(t, t->nodes, above), neighbour = last_at(t, last, above);
    if (neighbour < 0) return TREE_LEVELS;
    int have = t->nodes - last, whole = last - neighbour, same = have < whole ? have : whole;
    if (memcmp(t->level + neighbour, t->level + last, (size_t)same) != 0) return TREE_LEVELS;
    return have < whole ? t->level[neighbour + have] : above;
}

/* The greatest element that may come next, as far as the order of branches goes; any smaller one may too. */
static unsigned greatest(enum tree_pattern pattern, const struct tree *t) {
    const unsigned last = t->level[t->nodes - 1];
    if (pattern == TREE_FLAT) return t->nodes == 1 ? TREE_TYPES : 0;
    if (t->nodes == TREE_LEVELS) return 0;
    unsigned most = last + 1;
    for (unsigned above = 1; pattern != TREE_ORDERED && above <= last; above++) {
        unsigned bound = at_most(t, above);
        if (bound < most) most = bound;
    }
    return most;
}

/* Has the node that would be the parent of an element at `level` room for a branch? */
static bool has_room(enum tree_pattern pattern, const struct tree *t, unsigned level) {
    const unsigned most = pattern == TREE_BINARY ? 2 : pattern == TREE_TERNARY ? 3 : TREE_LEVELS;
    unsigned branches = 0;
    for (int i = t->nodes; (i = last_at(t, i, level)) >= 0;) branches++;
    return branches < most;
}

bool tree_child(enum tree_pattern pattern, const struct tree *t, unsigned *below, struct tree *child) {
    unsigned level = greatest(pattern, t);
    if (level >= *below) level = *below - 1;
    while (level > 0 && !has_room(pattern, t, level)) level--;
    if (level == 0) return false;
    *below = level;
    *child = appended(t, level);
    return true;
}

void tree_count_levels(enum tree_pattern pattern, const struct tree *t, unsigned nodes, uint64_t count[TREE_LEVELS]) {
    struct tree child;
    if (t->nodes > nodes) return;
    count[t->nodes - 1]++;
    for (unsigned below = TREE_FIRST; t->nodes < nodes && tree_child(pattern, t, &below, &child);) tree_count_levels(pattern, &child, nodes, count);
}
