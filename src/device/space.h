/* space.h: reserved device addresses, and which page lies where. Pure arithmetic: no CUDA call, no lock.
 *
 * A *slot* is 2 MiB of a reservation. It is empty, or it has one page mapped. A *run* of slots belongs to one large block,
 * or is a page's *home*, where small blocks reach it. Runs are found next-fit, so that an address comes back late. The
 * reservation is several times the device, so runs are always to be had however blocks lie. Under the lock of its owner. */
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
    uint64_t *owner;        /* by slot: address at which its large block begins; 0: a home */
};

/* `bytes` of addresses at `base`. False: no memory. */
bool space_open(struct space *s, uint64_t base, uint64_t bytes);
/* `count` consecutive slots, taken; the first, or UINT32_MAX when there are none. */
uint32_t space_take(struct space *s, uint32_t count);
void space_give(struct space *s, uint32_t first, uint32_t count);
/* Nothing is taken any more. */
void space_clear(struct space *s);
static inline bool space_holds(const struct space *s, uint64_t address) { return address - s->base < s->slots * PAGE_BYTES; }
static inline uint32_t space_slot(const struct space *s, uint64_t address) { return (uint32_t)((address - s->base) / PAGE_BYTES); }
static inline uint64_t space_address(const struct space *s, uint32_t slot) { return s->base + slot * PAGE_BYTES; }
static inline bool space_is_taken(const struct space *s, uint32_t slot) { return s->taken[slot / 64] >> slot % 64 & 1; }
#endif
