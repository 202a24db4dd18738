/* demand.c: slots of five seconds, and what each policy makes of them; see demand.h. */
#include "dtesn/demand.h"
#include "base/options.h"

/* A tenth more; and what is too little to make anybody wait for it. */
#define FLOOR ((uint64_t)32 << 20)
static uint64_t with_room(uint64_t bytes) { return bytes / 10 > FLOOR ? bytes + bytes / 10 : bytes + FLOOR; }

static uint64_t highest_past(const struct demand *d) {
    uint64_t most = 0;
    for (unsigned i = 0; i < DEMAND_SLOTS; i++) {
        uint64_t past = atomic_load_explicit(&d->past[i], memory_order_relaxed);
        if (past > most) most = past;
    }
    return most;
}

uint64_t demand_most(const struct demand *d) {
    uint64_t now = atomic_load_explicit(&d->now, memory_order_relaxed), past = highest_past(d);
    return now > past ? now : past;
}

uint64_t demand_recent(const struct demand *d, uint64_t live) {
    uint64_t now = atomic_load_explicit(&d->now, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&d->past[(atomic_load(&d->next) + DEMAND_SLOTS - 1) % DEMAND_SLOTS], memory_order_relaxed);
    if (last > live) live = last;
    return now > live ? now : live;
}

uint64_t demand_keep(const struct demand *d, uint64_t live) {
    uint64_t now = atomic_load_explicit(&d->now, memory_order_relaxed), most = live > now ? live : now;
    uint64_t forecast = atomic_load_explicit(&d->forecast, memory_order_relaxed);
    uint64_t worth = forecast ? forecast - 1 : with_room(highest_past(d));
    return worth > with_room(most) ? worth : with_room(most);
}

static void raise(_Atomic uint64_t *word, uint64_t value) {
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    while (old < value && !atomic_compare_exchange_weak_explicit(word, &old, value, memory_order_relaxed, memory_order_relaxed)) {}
}

void demand_rises(struct demand *d, uint64_t live) {
    raise(&d->now, live);
    raise(&d->keep, with_room(live));
}

/* A slot has ended: the model learns what it held and says what it expects. */
static void forecast_next(struct demand *d) {
    uint64_t lag[PREDICTOR_LAGS], bytes, next = atomic_load(&d->next);
    uint32_t count[PREDICTOR_CLASSES] = { 0 };
    for (unsigned i = 0; i < PREDICTOR_LAGS; i++) lag[i] = atomic_load(&d->past[(next + DEMAND_SLOTS - 1 - i) % DEMAND_SLOTS]);
    if (d->count) d->count(d, count);
    bool known = predictor_step(&d->model, lag, count, highest_past(d), &bytes);
    atomic_store(&d->forecast, known ? bytes + 1 : 0);
}

/* The present slot held `most` bytes. */
static void end_slot(struct demand *d, uint64_t most) {
    if (option_number(predictor) == PREDICTOR_TIMER) {
        for (unsigned i = 0; i < DEMAND_SLOTS; i++) atomic_store(&d->past[i], most);
        return;
    }
    unsigned next = atomic_load(&d->next);
    atomic_store(&d->past[next], most);
    atomic_store(&d->next, (next + 1) % DEMAND_SLOTS);
    if (option_number(predictor) == PREDICTOR_AR) forecast_next(d);
}

void demand_tick(struct demand *d, uint64_t live, uint64_t now_ns) {
    const uint64_t slot_ns = option_number(predictor) == PREDICTOR_TIMER ? (uint64_t)DEMAND_SLOT_NS * DEMAND_SLOTS : DEMAND_SLOT_NS;
    uint64_t ends = atomic_load(&d->ends);
    if (now_ns < ends || atomic_flag_test_and_set(&d->busy)) return;
    if (atomic_compare_exchange_strong(&d->ends, &ends, now_ns + slot_ns)) {
        /* slots in which nobody looked: the present one's maximum held through the first of them, `live` since */
        uint64_t missed = ends == 0 ? 0 : (now_ns - ends) / slot_ns;
        for (uint64_t i = 0; i <= (missed < DEMAND_SLOTS ? missed : DEMAND_SLOTS); i++)
            end_slot(d, i == 0 ? atomic_exchange(&d->now, live) : live);
        atomic_store(&d->keep, demand_keep(d, live));
    }
    atomic_flag_clear(&d->busy);
}
