/* entry.h: the life of an entry, in one word.
 *
 * DEAD (free) -> 1 (come alive, one reference) <-> references <-> 0 (nobody refers to it; may die) -> DEAD. A reader adds its
 * reference before it knows whether the entry is alive, and takes it back if not: such additions stand on top of DEAD for
 * a moment, so coming alive adds 1 - DEAD and never stores. Who holds a reference of an entry that was alive may read all
 * of it; dying needs a state of exactly 0. Whatever is written while DEAD is seen by who finds it alive. */
#ifndef COPPICE_INTERN_ENTRY_H
#define COPPICE_INTERN_ENTRY_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ENTRY_DEAD ((uint64_t)1 << 63)
enum { ENTRY_TOUCHED = 1 };

/* Half a cache line. */
struct entry {
    _Atomic uint64_t state;         /* DEAD, references */
    _Atomic uint32_t hash;          /* written while DEAD; chooses the bucket */
    _Atomic uint32_t next;          /* id of the next in the chain, or of the next free one; the table's lock */
    _Atomic uint32_t where;         /* block; written while DEAD, as are the next two */
    uint32_t length, tag;
    _Atomic uint32_t used;          /* end of the last reference, above the mark; anybody, the last one wins */
};
_Static_assert(sizeof(struct entry) == 32, "an entry never lies in two cache lines");

/* Adds a reference; false, and nothing is changed: it is dead. */
static inline bool entry_hold(struct entry *e) {
    uint64_t before = atomic_fetch_add_explicit(&e->state, 1, memory_order_acquire);
    if (likely(!(before & ENTRY_DEAD))) return true;
    atomic_fetch_sub_explicit(&e->state, 1, memory_order_release);
    return false;
}
/* Takes back the addition of entry_hold. */
static inline void entry_drop(struct entry *e) { atomic_fetch_sub_explicit(&e->state, 1, memory_order_release); }
/* From now on nobody reads it; false: somebody refers to it, or it is dead. */
static inline bool entry_die(struct entry *e) {
    uint64_t none = 0;
    return atomic_compare_exchange_strong_explicit(&e->state, &none, ENTRY_DEAD, memory_order_acquire, memory_order_relaxed);
}
/* The end of DEAD: alive, with one reference. */
static inline void entry_come_alive(struct entry *e) { atomic_fetch_add_explicit(&e->state, 1 - ENTRY_DEAD, memory_order_release); }
static inline uint64_t entry_state(struct entry *e) { return atomic_load_explicit(&e->state, memory_order_relaxed); }
#endif
