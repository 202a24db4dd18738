/* membranes.h: budgets in bytes for memory of one kind. Knows bytes alone: neither malloc nor CUDA, so that the host and
 * each device have a tree of these of their own.
 *
 * A *membrane* is a tree of trees.h; its *id* is its place in depth-first order, so that its descendants are the ids
 * from its own up to `end`. It *holds* memory, live and cached. Its *budget* is what it may hold together with its descendants.
 * The root's is the *limit*; at the start each level has an equal part of the limit for its own, and a membrane's
 * part goes by how many membranes are below it. From then on budgets move by demand:
 *   take      a membrane that has the bytes free takes them: the memory is *compliant*
 *   climb     else the nearest ancestor that has them lends them, after it has called in what its other descendants do not
 *             use: *borrowed*. Nobody has them: *full*; the caller cleans up and asks again, and then is either
 *             refused (a hard limit) or holds them *over* the limit; what it holds within is its *own*
 *   release   memory that goes away leaves its budget where it was, for the next to come
 *   settle    budget beyond a membrane's first share that nobody uses goes up a level at a time, deep levels first
 *   move      held memory takes its budget along, to the parent (consolidation) or down to a descendant (reuse)
 *
 * At every instant, for every membrane, whatever threads do:
 *     sum of the children's budgets + free + own <= budget,      and every term >= 0;
 *     equal when nobody is between two steps. So the children's budgets never exceed the parent's.
 * Each operation is steps on single words, in an order in which a word on the left falls before, or rises after, the word
 * on the right does: docs/DTESN.md has the proof. No locks; a hit, which changes neither holder nor size, does nothing. */
#ifndef COPPICE_DTESN_MEMBRANES_H
#define COPPICE_DTESN_MEMBRANES_H
#include "coppice/coppice.h"
#include "dtesn/trees.h"
#include "stats/counters.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { MEMBRANE_SIZES = 65 };
_Static_assert(COUNTER_TYPES == (int)COPPICE_TYPES, "counters know every type");

struct membrane {
    _Atomic int64_t budget, free; /* bytes; any thread */
    _Atomic int64_t own, over;    /* what it holds: within its budget, and over the limit */
    int64_t share;         /* budget at the start */
    uint32_t parent, end;  /* ids; the root's parent is itself */
    uint32_t level;        /* 1.. */
} __attribute__((aligned(64)));

/* Where memory of a type and a size class belongs: some membranes of one level, of which the site picks one. */
struct membrane_range { uint32_t first, count, level; };

struct membranes {
    struct membrane *node;   /* NULL: not made yet */
    uint32_t *by_level;      /* ids in order of level, then rank; a membrane_range is a part of this */
    uint32_t count, depth;
    _Atomic int64_t own, over; /* sums over all membranes */
    struct dtesn_counters *counters;
    struct membrane_range range[COPPICE_TYPES][MEMBRANE_SIZES];
};

/* One membrane, as memory remembers it. */
struct place { uint32_t id, level; };

/* Makes the tree, whose sums are `seen` by readers; false: no memory, nothing was made. Call once, before others use it. */
bool membranes_make(struct membranes *t, enum tree_pattern pattern, unsigned depth, uint64_t limit, struct dtesn_counters *seen);
void membranes_unmake(struct membranes *t);

/* Where `size` bytes of a type belong (untyped memory with the procedural): in the deepest level of the type's subtree whose membranes
 * are large enough, and there where the site (any number that names it, well mixed) says. A few loads. */
static inline struct place membranes_place(const struct membranes *t, enum coppice_type type, uint32_t site, uint64_t size) {
    const struct membrane_range *r = &t->range[type][size < 2 ? 0 : 64 - __builtin_clzll(size - 1)];
    return (struct place){ t->by_level[r->first + (uint32_t)(((uint64_t)site * r->count) >> 32)], r->level };
}
static inline uint64_t membranes_limit(const struct membranes *t) { return (uint64_t)t->node[0].share; }
/* May memory of `holder` serve a request of `asker`: is it the same or an ancestor? `end` is the holder's. */
static inline bool membranes_serves(uint32_t holder, uint32_t end, uint32_t asker) { return asker - holder < end - holder; }

enum membranes_answer { MEMBRANES_COMPLIANT, MEMBRANES_BORROWED, MEMBRANES_FULL };
/* `bytes` of budget for new memory of membrane `id`. */
enum membranes_answer membranes_take(struct membranes *t, uint32_t id, uint64_t bytes);
/* The same without asking: what is missing is held over the limit. */
void membranes_take_over(struct membranes *t, uint32_t id, uint64_t bytes);
/* Memory of the membrane is gone. It must hold that much. */
void membranes_release(struct membranes *t, uint32_t id, uint64_t bytes);
/* Memory gone whose holder is not known exactly: from `id` as far as it holds any, then from whoever of its kin does. */
void membranes_release_near(struct membranes *t, uint32_t id, uint64_t bytes);
/* Held memory moves between a membrane and one of its ancestors, either way, with its budget. */
void membranes_move(struct membranes *t, uint32_t from, uint32_t to, uint64_t bytes);

/* Memory that lies unused at a level for longer than this climbs; from the root it goes to where it came from.
 * A minute at the root, half of it a level below, and so on, at least a second. */
static inline unsigned membranes_patience_s(unsigned level) { return level > 6 ? 1 : 60u >> (level - 1) ? 60u >> (level - 1) : 1; }
/* Budgets that nobody uses go up. `second` counts; the levels whose time has come are looked at. */
void membranes_settle(struct membranes *t, uint64_t second);

/* Does every membrane keep the law above with equality? For moments at which nobody is between two steps. */
bool membranes_are_valid(const struct membranes *t);
#endif
