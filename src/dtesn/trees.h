/* trees.h: rooted trees, written as level sequences: the shape of every hierarchy of membranes. Arithmetic only.
 *
 * A *level sequence* names the nodes of a tree in depth-first order by their distance from the root: 0121 is a root with
 * a branch of two nodes and a branch of one. It is *canonical* when no other order of the branches gives a greater one;
 * so each tree has one canonical sequence, and every prefix of it is canonical too. The *parent* of a tree is the
 * sequence without its last element; its *children* are those with one element more. So all trees of up to twelve nodes
 * are themselves one tree, whose *level* n holds the trees of n nodes: 1, 1, 2, 4, 9, 20, 48, … (OEIS A000081).
 * The *rank* of a tree counts the trees of its level that come before it, greatest sequence first: 0123 0122 0121 0111.
 *
 * A *pattern* says which sequences there are: all canonical ones; those in which no node has more than two, or three,
 * branches; ordered trees, in which every order of branches counts; or `flat`: a root and one child a memory type. */
#ifndef COPPICE_DTESN_TREES_H
#define COPPICE_DTESN_TREES_H
#include <stdbool.h>
#include <stdint.h>

enum { TREE_LEVELS = 12, TREE_TYPES = 4 };
enum tree_pattern {
    TREE_ROOTED,  /* A000081 */
    TREE_BINARY,  /* at most two branches: A001190, one place on */
    TREE_TERNARY, /* at most three branches: A000598, one place on */
    TREE_ORDERED, /* A000108, one place on */
    TREE_FLAT /* flat: levels of 1 and 4 */
};

struct tree {
    uint8_t nodes; /* 1..TREE_LEVELS: also its level */
    uint8_t level[TREE_LEVELS];
};

static inline struct tree tree_root(void) { return (struct tree){ .nodes = 1 }; }
/* The children in order of rank, one a call: the greatest whose last element is below `*below`, which becomes that element.
 * Begin with TREE_FIRST; false: there are no more. */
enum { TREE_FIRST = TREE_LEVELS + 1 };
bool tree_child(enum tree_pattern pattern, const struct tree *t, unsigned *below, struct tree *child);
/* How many trees of 1..nodes nodes begin with `t`: count[i] more of i + 1 nodes. */
void tree_count_levels(enum tree_pattern pattern, const struct tree *t, unsigned nodes, uint64_t count[TREE_LEVELS]);
/* Most levels that the pattern has. */
static inline unsigned tree_deepest(enum tree_pattern pattern) { return pattern == TREE_FLAT ? 2 : TREE_LEVELS; }
#endif
