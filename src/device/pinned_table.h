/* pinned_table.h: where pins are: by address, and the cached ones by what they would serve and by age. One lock, held for a
 * few loads and stores; nothing here calls the driver. A pin that was claimed or taken is BUSY or LIVE and its caller's. */
#ifndef COPPICE_DEVICE_PINNED_TABLE_H
#define COPPICE_DEVICE_PINNED_TABLE_H
#include "device/context.h"
#include "device/pinned.h"

enum pin_state { PIN_GONE, PIN_LIVE, PIN_BUSY, PIN_CACHED };
struct pin {
    uint64_t address, size; /* as the driver gave it */
    uint64_t asked;         /* as the program asked for it this time */
    uint64_t epoch;         /* CACHED: ready once it has passed */
    struct context *context;
    unsigned kind;
    enum pin_state state;
    bool tainted;
    struct pin *chain;            /* the next of its place in the table of addresses; of free descriptors */
    struct pin *next, *previous;  /* CACHED: of its bin, last freed first */
    struct pin *older, *newer;    /* CACHED: by time of free */
};

/* What is looked for; `pending`: out, the earliest epoch behind which something that fits waits, 0: none. */
struct pinned_wish { struct context *context; uint64_t size; unsigned kind; uint64_t pending; };

/* A new LIVE pin; false: no memory for a descriptor. */
bool pinned_table_add(struct context *c, uint64_t address, uint64_t size, unsigned kind);
/* The smallest ready pin that serves the wish, LIVE now; or NULL. */
struct pin *pinned_table_take(struct pinned_wish *wish);
/* The LIVE pin at the address, BUSY and out of the table now; NULL: there is none. */
struct pin *pinned_table_claim(uint64_t address);
/* The oldest cached pin (that is ready), BUSY and out of the table now. */
struct pin *pinned_table_oldest(bool only_ready);
/* A BUSY pin goes back in: CACHED, LIVE, or as a free descriptor. A context that has ended meanwhile keeps nothing: false. */
bool pinned_table_keep(struct pin *p, uint64_t epoch);
void pinned_table_revive(struct pin *p);
void pinned_table_recycle(struct pin *p);
/* A pin of the context, whatever its state, out of the table now; NULL when there are no more. */
struct pin *pinned_table_drop(struct context *c);
void pinned_table_fork_child(void);
#endif
