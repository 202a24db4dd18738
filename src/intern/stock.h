/* stock.h: references that a thread has at hand.
 *
 * A hit adds a reference to its entry's word. Of what all threads ask for all the time (ten contents are 42 % of a real stream), that
 * word would go from core to core with each call; and to find it, all bytes were hashed well. So a thread keeps a *stock*: one page of
 * *slots*, each a few references to one entry, taken all at once. A hit in the stock takes one out, a release puts it back, and neither
 * writes what other threads use.
 *
 * A slot is found by the *key* of a content, which is quick to make and not good; nothing is believed because of it, everything is
 * compared (intern/find.h). After a wrong guess the table is asked.
 *
 * A slot is one word and changes by compare-and-exchange alone, because it is its thread's to use and anybody's to empty: references
 * at hand are references to those who remove entries, so a table that finds nothing to evict, and each cleanup, first has the stocks
 * *emptied*; what is out with the program stays out. A slot keeps when a reference was last put back: age counts from there, not from
 * the emptying. A slot in use is not given to another content at once: its *used* mark goes first.
 *
 * empty -> candidate (of an entry that was found in the table; no references) -> references (one more for each that ends; a lot when
 * there is none left) -> empty.
 *
 * fork: the child has its thread's stock, and those of threads that it has not, until they are emptied. Any thread; no locks. */
#ifndef COPPICE_INTERN_STOCK_H
#define COPPICE_INTERN_STOCK_H
#include "base/hints.h"
#include "intern/entry.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { STOCK_SLOTS = 512, STOCK_MOST = 63 /* references in a slot */, STOCK_LOT = 31 /* taken at once */ };
enum { STOCK_LEAST_LENGTH = 8, STOCK_MOST_LENGTH = ENTRY_LONG - 1 }; /* of contents: an entry's word says all of these */
/* bits 0-5 references; 6 used; 7-21 time; 22-37 the key's upper bits; 38-63 id */
enum { STOCK_TIME_AT = 7, STOCK_KEY_AT = 22, STOCK_ID_AT = 38, STOCK_ID_BITS = 64 - STOCK_ID_AT };
#define STOCK_REFERENCES ((uint64_t)STOCK_MOST)
#define STOCK_USED ((uint64_t)1 << 6)
#define STOCK_TIME ((uint64_t)(ENTRY_TIMES - 1) << STOCK_TIME_AT)
#define STOCK_KEY ((uint64_t)0xFFFF << STOCK_KEY_AT)

struct stock {
    _Atomic uint64_t slot[STOCK_SLOTS];
};
/* This thread's; NULL: it has none (yet, any more, or at all). */
extern _Thread_local struct stock *stock_own __attribute__((tls_model("initial-exec"), visibility("hidden")));

typedef uint32_t stock_lanes __attribute__((vector_size(16)));
static inline stock_lanes stock_sum(stock_lanes sum, const char *at) {
    stock_lanes bytes;
    memcpy(&bytes, at, sizeof bytes);
    return __builtin_shuffle(sum, (stock_lanes){ 1, 2, 3, 0 }) + bytes;
}

static inline bool stock_keeps(size_t length) { return length - STOCK_LEAST_LENGTH <= STOCK_MOST_LENGTH - STOCK_LEAST_LENGTH; }
/* The key of a content of such a length: sums, in which each byte counts. */
static inline uint64_t stock_key(const char *bytes, size_t length) {
    const uint32_t n = (uint32_t)length;
    stock_lanes a = { n, n, n, n }, b = a, c = a, d = a;
    if (length >= 64) {
        const char *at = bytes, *last = bytes + length - 64;
        for (;; at = at + 64 < last ? at + 64 : last) {
            a = stock_sum(a, at), b = stock_sum(b, at + 16), c = stock_sum(c, at + 32), d = stock_sum(d, at + 48);
            if (at == last) break;
        }
    } else if (length >= 16) {
        a = stock_sum(a, bytes), b = stock_sum(b, bytes + length - 16);
        if (length > 32) c = stock_sum(c, bytes + 16), d = stock_sum(d, bytes + length - 32);
    } else
        memcpy(&a, bytes, 8), memcpy((char *)&a + 8, bytes + length - 8, 8);
    a += __builtin_shuffle(c, (stock_lanes){ 2, 3, 1, 0 }), b += __builtin_shuffle(d, (stock_lanes){ 3, 2, 0, 1 });
    a = (a << 9 | a >> 23) ^ __builtin_shuffle(b, (stock_lanes){ 1, 2, 3, 0 }); /* 9: no byte that counts twice meets itself */
    uint64_t half[2];
    memcpy(half, &a, sizeof a);
    uint64_t key = (half[0] ^ n) * 0x9E3779B97F4A7C15ull ^ (half[1] ^ half[1] >> 29) * 0xC2B2AE3D27D4EB4Full;
    return key ^ key >> 32;
}

static inline uint64_t stock_key_bits(uint64_t key) { return key << (STOCK_KEY_AT - 16) & STOCK_KEY; }
static inline uint32_t stock_id(uint64_t word) { return (uint32_t)(word >> STOCK_ID_AT); }

/* A slot, and its word as it was at the look. */
struct stock_slot {
    _Atomic uint64_t *at;
    uint64_t word;
};
static inline struct stock_slot stock_look(uint64_t key) {
    _Atomic uint64_t *at = &stock_own->slot[key % STOCK_SLOTS];
    return (struct stock_slot){ at, atomic_load_explicit(at, memory_order_relaxed) };
}
/* False: it was changed since the look, and now is not. */
static inline bool stock_change(const struct stock_slot *s, uint64_t to) {
    uint64_t word = s->word;
    return atomic_compare_exchange_strong_explicit(s->at, &word, to, memory_order_acq_rel, memory_order_relaxed);
}
static inline bool stock_has(const struct stock_slot *s, uint64_t key) {
    return (s->word & STOCK_KEY) == stock_key_bits(key) && s->word & STOCK_REFERENCES;
}
/* Takes a reference out, which is the caller's. */
static inline bool stock_take(const struct stock_slot *s) { return stock_change(s, (s->word | STOCK_USED) - 1); }

/* Puts a reference to this entry, whose word was `w` a moment ago, in at this time. */
enum stock_put { STOCK_PUT, STOCK_NOT_MINE /* the caller gives it to the entry */, STOCK_NONE_DUE /* all that there are are at hand */ };
static inline enum stock_put stock_put(uint64_t key, uint32_t id, uint64_t w, unsigned time) {
    struct stock_slot slot = stock_look(key);
    uint64_t references = slot.word & STOCK_REFERENCES;
    if (stock_id(slot.word) != id) return STOCK_NOT_MINE;
    if (entry_references(w) <= references) return STOCK_NONE_DUE;
    if (references == STOCK_MOST || !stock_change(&slot, (slot.word & ~STOCK_TIME) + 1 + ((uint64_t)time << STOCK_TIME_AT))) return STOCK_NOT_MINE;
    entry_tell_ended(entry_references(w) == references + 1);
    return STOCK_PUT;
}

/* Room for stocks; without it no thread has one. */
void stock_init(void);
/* A hit in the table of a thread that has no stock: after some of these it gets one. */
void stock_want(void);
/* A hit in the table of one that has: the content of this key, in entry `id`, which the caller holds. */
void stock_note(uint64_t key, uint32_t id);
/* Empties all stocks, at this time. True: some entry lost its last reference. */
bool stock_empty_all(unsigned now) COLD;
/* In a fork's child: the other threads' stocks are nobody's. */
void stock_fork_child(void) COLD;
/* Bytes of stocks in use. */
size_t stock_held(void);
/* How many references are at hand to an entry. */
uint64_t stock_at_hand(uint32_t id);
#endif
