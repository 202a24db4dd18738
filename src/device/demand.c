/* demand.c: a sliding maximum over twelve slots of five seconds; see demand.h. */
#include "device/demand.h"

/* A tenth more; and what is too little to make anybody wait for it. */
#define FLOOR ((uint64_t)64 << 20)
static uint64_t with_room(uint64_t bytes) { return bytes / 10 > FLOOR ? bytes + bytes / 10 : bytes + FLOOR; }

static uint64_t highest(const struct demand *d) {
    uint64_t most = atomic_load_explicit(&d->now, memory_order_relaxed);
    for (unsigned i = 0; i < DEMAND_SLOTS; i++) {
        uint64_t past = atomic_load_explicit(&d->past[i], memory_order_relaxed);
        if (past > most) most = past;
    }
    return most;
}

uint64_t demand_keep(const struct demand *d, uint64_t live) {
    uint64_t most = highest(d);
    return with_room(live > most ? live : most);
}

void demand_rises(struct demand *d, uint64_t live) {
    uint64_t old = atomic_load_explicit(&d->now, memory_order_relaxed);
    while (old < live && !atomic_compare_exchange_weak_explicit(&d->now, &old, live, memory_order_relaxed, memory_order_relaxed)) {}
    uint64_t keep = atomic_load_explicit(&d->keep, memory_order_relaxed);
    while (keep < with_room(live) && !atomic_compare_exchange_weak_explicit(&d->keep, &keep, with_room(live), memory_order_relaxed, memory_order_relaxed)) {}
}

void demand_tick(struct demand *d, uint64_t live, uint64_t now_ns) {
    uint64_t ends = atomic_load(&d->ends);
    if (now_ns < ends || !atomic_compare_exchange_strong(&d->ends, &ends, now_ns + DEMAND_SLOT_NS)) return;
    /* slots in which nobody looked: the present one's maximum held through the first of them, `live` since */
    uint64_t missed = ends == 0 ? 0 : (now_ns - ends) / DEMAND_SLOT_NS;
    for (uint64_t i = 0; i <= (missed < DEMAND_SLOTS ? missed : DEMAND_SLOTS); i++) {
        uint64_t most = i == 0 ? atomic_exchange(&d->now, live) : live;
        atomic_store(&d->past[atomic_fetch_add(&d->next, 1) % DEMAND_SLOTS], most);
    }
    atomic_store(&d->keep, demand_keep(d, live));
}
