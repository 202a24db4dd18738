/* stock.c: threads get their stocks, fill them, and lose them; see stock.h. */
#include "intern/stock.h"
#include "base/clock.h"
#include "base/sys.h"
#include "intern/slab.h"
#include <pthread.h>
#include <sys/mman.h>

enum { STOCKS = 256, WANTED_AFTER = 64 /* hits of a thread in the table, until it gets a stock */ };

_Thread_local struct stock *stock_own;
static _Thread_local unsigned hits;
static _Thread_local bool had_one; /* the thread is ending; what still interns gets none */
static struct stock *stocks;
static _Atomic bool owned[STOCKS];
static _Atomic uint32_t stocks_top; /* none from here on was ever owned */
static pthread_key_t at_end;

size_t stock_held(void) { return atomic_load_explicit(&stocks_top, memory_order_relaxed) * sizeof *stocks; }

/* --- emptying */

/* Age counts from when a reference was last put back, here or to the entry itself. True: that was the entry's last reference. */
static bool give_back(uint64_t word, unsigned now) {
    if (!(word & STOCK_REFERENCES)) return false;
    struct entry *e = slab_entry(stock_id(word));
    unsigned here = (unsigned)((word & STOCK_TIME) >> STOCK_TIME_AT), there = entry_time(entry_word(e));
    return entry_references(entry_release(e, word & STOCK_REFERENCES, entry_age(here, now) < entry_age(there, now) ? here : there)) == 0;
}

static bool empty(struct stock *s, unsigned now) {
    bool last = false;
    for (unsigned i = 0; i < STOCK_SLOTS; i++)
        if (atomic_load_explicit(&s->slot[i], memory_order_relaxed)) last |= give_back(atomic_exchange_explicit(&s->slot[i], 0, memory_order_acq_rel), now);
    return last;
}

bool stock_empty_all(unsigned now) {
    bool last = false;
    for (uint32_t i = 0; i < atomic_load_explicit(&stocks_top, memory_order_acquire); i++) last |= empty(&stocks[i], now);
    return last;
}

/* --- a thread's stock */

static void end_thread(void *own) {
    stock_own = NULL;
    had_one = true;
    empty(own, entry_time_of(clock_coarse_ns()));
    atomic_store_explicit(&owned[(struct stock *)own - stocks], false, memory_order_release);
}

void stock_init(void) {
    invariant(slab_id_bits() <= STOCK_ID_BITS);
    if (pthread_key_create(&at_end, end_thread) == 0) stocks = sys_map(NULL, STOCKS * sizeof *stocks, PROT_READ | PROT_WRITE);
}

static void own(uint32_t i) {
    uint32_t top = atomic_load_explicit(&stocks_top, memory_order_relaxed);
    while (top <= i && !atomic_compare_exchange_weak_explicit(&stocks_top, &top, i + 1, memory_order_release, memory_order_relaxed)) {}
    if (pthread_setspecific(at_end, &stocks[i]) == 0) stock_own = &stocks[i];
    else atomic_store_explicit(&owned[i], false, memory_order_release);
}

void stock_want(void) {
    if (!stocks || stock_own || had_one || ++hits < WANTED_AFTER) return;
    hits = 0;
    for (uint32_t i = 0; i < STOCKS; i++)
        if (!atomic_load_explicit(&owned[i], memory_order_relaxed) && !atomic_exchange_explicit(&owned[i], true, memory_order_acquire)) {
            own(i);
            return;
        }
}

void stock_fork_child(void) {
    for (uint32_t i = 0; i < atomic_load_explicit(&stocks_top, memory_order_relaxed); i++)
        if (&stocks[i] != stock_own) atomic_store_explicit(&owned[i], false, memory_order_relaxed);
}

/* --- filling */

void stock_note(uint64_t key, uint32_t id) {
    struct stock_slot slot = stock_look(key);
    struct entry *e = slab_entry(id);
    const unsigned time = entry_time(entry_word(e));
    const uint64_t mine = stock_key_bits(key) | (uint64_t)id << STOCK_ID_AT;
    if ((slot.word & ~(STOCK_REFERENCES | STOCK_USED | STOCK_TIME)) == mine) {
        if (slot.word & STOCK_REFERENCES || !entry_hold_more(e, STOCK_LOT)) return;
        if (!stock_change(&slot, slot.word + STOCK_LOT)) entry_release(e, STOCK_LOT, time);
    } else if (slot.word & STOCK_USED) stock_change(&slot, slot.word & ~STOCK_USED);
    else if (stock_change(&slot, mine | (uint64_t)time << STOCK_TIME_AT) && slot.word & STOCK_REFERENCES)
        give_back(slot.word, entry_time_of(clock_coarse_ns()));
}

uint64_t stock_at_hand(uint32_t id) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < atomic_load(&stocks_top); i++)
        for (unsigned n = 0; n < STOCK_SLOTS; n++) {
            uint64_t word = atomic_load(&stocks[i].slot[n]);
            if (stock_id(word) == id) count += word & STOCK_REFERENCES;
        }
    return count;
}
