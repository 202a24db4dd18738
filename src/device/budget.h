/* budget.h: blocks and membranes: to whom device memory belongs, and when it climbs.
 *
 * Each device has a tree of membranes (dtesn/membranes.h), which its contexts share. A block *belongs* to a membrane from
 * its birth to its end: to the one where its type, site and size have their place. A hit by a request of the same kind
 * changes nothing there and asks nobody: the *key* says that it is the same. Any other request may take what its own
 * membrane or an ancestor of it has; what belongs to others only when nothing else is there, before the driver is asked. Then the
 * block moves, with its budget, and the allocation counts as borrowed.
 * *Consolidation*: once a second, cached blocks that have been idle at their level for its time climb to the parent, where
 * all its descendants may take them; from the root they go to the driver, while the device has nothing to do.
 * What is live, by level and type, is counted in cells: a shard's under its lock, those of birth and end in one with atomics. */
#ifndef COPPICE_DEVICE_BUDGET_H
#define COPPICE_DEVICE_BUDGET_H
#include "device/context.h"
#include "dtesn/membranes.h"

/* A *key* is who asks, in one word: the kind of the request (sites/site.h). 0 where there are no membranes: then everybody
 * is the same. With KEY_ANY the request takes whatever fits. */
enum { KEY_KNOWN = 1 << 15, KEY_ANY = 1 << 14 };
static inline uint32_t budget_key_of(const struct context *c, struct kind k) {
    return (((union kind_word){ .kind = k }).word | KEY_KNOWN) & c->key_mask;
}
static inline uint32_t budget_key(const struct context *c) { return (thread_device.kind_word | KEY_KNOWN) & c->key_mask; }
static inline enum coppice_type budget_type(uint32_t key) { return (enum coppice_type)(key & 0xff); }

/* May a block that fits serve the request? Where it served the same kind before, one word of it says so, and it stays
 * where it is. */
bool budget_allows_other(const struct block *b, uint32_t key, uint64_t size) COLD;
static inline bool budget_allows(const struct block *b, uint32_t key, uint64_t size) {
    return likely(b->owner.key == key) || budget_allows_other(b, key, size);
}

static inline struct dtesn_cell *budget_cell(struct shard *s, const struct block *b) { return &s->cells->cell[0][0] + b->owner.cell; }
/* A cached block is handed out, or a live one is cached, that the program has or had for `asked` bytes: under the lock of its
 * shard. For another kind it moves. */
void budget_changes(struct block *b, uint64_t asked, uint32_t key) COLD;
static inline void budget_took(struct shard *s, struct block *b, uint64_t asked) {
    struct dtesn_cell *cell = budget_cell(s, b);
    counter_bump(&cell->live_bytes, asked), counter_bump(&cell->allocs, 1);
}
static inline void budget_gave(struct shard *s, struct block *b, uint64_t asked) {
    b->owner.since = 0;
    counter_bump(&budget_cell(s, b)->live_bytes, -asked);
}
/* So much more of the block is not what was asked for. */
void budget_rounds(struct block *b, uint64_t slack);

/* Before the driver is asked for memory: is there budget? What is cached goes back first where it is short. False, under a
 * hard limit only: out of memory. It is the thread's until the block is born or the request is dismissed. */
bool budget_admit(struct context *c, uint64_t size);
void budget_dismiss(void);
/* A block of driver memory is there, of the kind that it says, or has gone. `live`: it is the program's, not cached. */
void budget_born(struct block *b, bool live);
void budget_ended(struct block *b, bool live);

/* Once a second, while the driver may be called: blocks climb, budgets settle. `release` gives a block that has left its
 * shard to the driver. Returns the bytes that went there. */
uint64_t budget_consolidate(uint64_t now_ns, uint64_t (*release)(struct block *b));
/* The context learns its device's tree, made by whoever comes first. */
void budget_join(struct context *c);
void budget_fork_child(void);
#endif
