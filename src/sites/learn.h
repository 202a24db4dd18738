/* learn.h: the types of sites of which no rule speaks, learned from what becomes of their memory (TYPE_LEARN=1).
 *
 * An *observation* is one block's life, at its end: its size and how long it lived. Each LEARN_AFTER observations of a site are a
 * *window* and give a *verdict*: procedural when three in four have the size of the one before, episodic when three in four lived
 * less than a second, semantic when three in four lived more than a minute, else untyped. On the host most sites have one size whatever
 * becomes of it, so lifetimes go first there, and ten seconds are long: after that much, freed pages of the other types have
 * gone back. The first verdict is taken at once;
 * a later one that differs must come twice in a row (hysteresis). What a thread pushes and what a rule says is never
 * learned over, and emotional memory is never learned: nobody knows it by looking. A wrong guess costs memory, nothing else. */
#ifndef COPPICE_SITES_LEARN_H
#define COPPICE_SITES_LEARN_H
#include "sites/type.h"

enum { LEARN_AFTER = 32 };
#define LEARN_SHORT_NS 1000000000u
#define LEARN_LONG_NS 60000000000u
#define LEARN_LONG_HOST_NS 10000000000u

/* What is known of one site; its fields are written under the lock of learn.c. */
struct lesson {
    uint64_t last_size;
    uint32_t observations, same, brief, lasting; /* the latter three of the present window */
    uint8_t type, verdict;                       /* what holds, and what the last window said */
    bool host;                                   /* this is host memory; set before the first observation */
};
/* One more observation. True: `type` has changed. */
bool lesson_observe(struct lesson *l, uint64_t size, uint64_t lifetime_ns);
#endif
