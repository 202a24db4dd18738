/* tags.h: the numbers of tags.
 *
 * The first few tags that come get a *number*, for which an entry's word has three bits; no two tags share one, and none is
 * taken back. A content of another tag has the tag before its bytes (intern/slab.h). Tag 0 has number 0 from the start,
 * as a number not yet given reads, and COPPICE_PARAMS_TAG has number 1. */
#ifndef COPPICE_INTERN_TAGS_H
#define COPPICE_INTERN_TAGS_H
#include "intern/entry.h"

extern _Atomic uint32_t tags_known[ENTRY_TAGS] __attribute__((visibility("hidden"))); /* by their numbers */

/* The number of a tag; ENTRY_TAGS when it has none. */
static inline unsigned tag_number(uint32_t tag) {
    unsigned i = 0;
    while (i < ENTRY_TAGS && atomic_load_explicit(&tags_known[i], memory_order_relaxed) != tag) i++;
    return i;
}
/* The same, and it gets one if there is one left. Under the table's lock. */
unsigned tag_number_given(uint32_t tag);
static inline uint32_t tag_of_number(unsigned number) { return atomic_load_explicit(&tags_known[number], memory_order_relaxed); }
#endif
