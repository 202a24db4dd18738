/* look.h: looking at a chunk of the heap, as seldom and at as little of it as will do: reading is what sharing costs.
 *
 * A chunk is looked at in *groups* of NOTES_GROUP pages. As long as pages of a group are not known, one of them is its *probe*; when the
 * probe has stayed the same, all those pages are read, once, and are known from then on: what a hash promises too much is found
 * when pages are compared. Of a group that is known each look reads a probe too, always another; where it has changed, so may have
 * its neighbours (weights are read into memory that was filled with random numbers before), and the whole group is unknown again: it was
 * read in vain, and the next time it has to stay the same for twice as many looks, up to four (work buffers rest between requests). */
#ifndef COPPICE_INTERN_LOOK_H
#define COPPICE_INTERN_LOOK_H
#include "intern/notes.h"

struct look {
    unsigned changed;               /* pages that were not what they had been */
    unsigned count;                 /* of pages that are to be offered: steady, and the broker does not know it yet */
    uint16_t page[REACH_PAGES];     /* counted from the chunk's first */
};
/* Looks at the chunk that begins at `first`. All: reads what is known too, and offers it again. False: the system lets nobody look. */
bool look_at(struct page_ref first, bool all, struct look *l);
/* Before and after a round of looks. Looking needs descriptors, and programs close what they do not know. */
bool look_begin(void);
void look_end(void); /* also of one that has not begun */
#endif
