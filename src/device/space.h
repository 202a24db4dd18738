/* space.h: reserved device addresses, and which page lies where. Pure arithmetic: no CUDA call, no lock.
 *
 * A *slot* is 2 MiB of a reservation. It is empty, or a page (page.h) is mapped there. Runs of slots are found next-fit, so that
 * an address comes back late and what is mapped later lies behind what was mapped before. The reservation is several times
 * the device, so runs are always to be had however pages lie. Under the lock of its owner. */
#ifndef COPPICE_DEVICE_SPACE_H
#define COPPICE_DEVICE_SPACE_H
#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES ((uint64_t)2 << 20)
struct page;

struct space {
    uint64_t base;          /* device address of slot 0 */
    uint32_t slots, rover;  /* the search goes on here */
    uint64_t *taken;        /* bit set over slots */
    struct page **page;     /* by slot; NULL: nothing mapped */
    uint64_t *owner;        /* by slot: where a block begins that has pages of its own; 0: extents (extent.h) say */
};

/* `bytes` of addresses at `base`. False: no memory. */
bool space_open(struct space *s, uint64_t base, uint64_t bytes);
/* `count` consecutive slots, taken; the first, or UINT32_MAX when there are none. */
uint32_t space_take(struct space *s, uint32_t count);
/* The same among the slots from `from` to `to`, the search beginning at `*rover`. */
uint32_t space_take_in(struct space *s, uint32_t from, uint32_t to, uint32_t *rover, uint32_t count);
bool space_is_empty(const struct space *s, uint32_t first, uint32_t count);
void space_give(struct space *s, uint32_t first, uint32_t count);
/* Nothing is taken any more. */
void space_clear(struct space *s);
static inline bool space_holds(const struct space *s, uint64_t address) { return address - s->base < s->slots * PAGE_BYTES; }
static inline uint32_t space_slot(const struct space *s, uint64_t address) { return (uint32_t)((address - s->base) / PAGE_BYTES); }
static inline uint64_t space_address(const struct space *s, uint32_t slot) { return s->base + slot * PAGE_BYTES; }
static inline bool space_is_taken(const struct space *s, uint32_t slot) { return s->taken[slot / 64] >> slot % 64 & 1; }
#endif
