/* entry.h: the life of an entry, and all that a reader needs of it, in one word.
 *
 * dead (free) -> 1 (come alive, one reference) <-> references <-> 0 (nobody refers to it; may die) -> dead. A reader adds its
 * reference before it knows whether the entry is alive, and takes it back if not: such additions stand on top of DEAD for
 * a moment, so coming alive adds its fields and takes DEAD away, and never stores. The word that an addition found says
 * whether the entry is alive, where its bytes are, and how many: one access for all of it. Who holds a reference of an entry that was
 * alive may read all of it; dying needs a word without references. What is written while dead is seen by who finds it alive.
 * Where ENTRY_KEPT references stand at once nobody counts any longer, and the entry stays for ever. */
#ifndef COPPICE_INTERN_ENTRY_H
#define COPPICE_INTERN_ENTRY_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* bits 0-23 references; 24-31 length, 255: it stands before the bytes; 32-43 offset of the bytes in their page; 44-46 number of
 * the tag, 7: it stands before the bytes; 47 touched; 48-62 time at which a reference last ended; 63 dead */
enum { ENTRY_LENGTH_AT = 24, ENTRY_OFFSET_AT = 32, ENTRY_TAG_AT = 44, ENTRY_TIME_AT = 48 };
enum { ENTRY_LONG = 255, ENTRY_TAGS = 7, ENTRY_TIMES = 1 << 15 };
#define ENTRY_REFERENCES (((uint64_t)1 << 24) - 1)
#define ENTRY_KEPT ((uint64_t)1 << 23)
#define ENTRY_TOUCHED ((uint64_t)1 << 47)
#define ENTRY_TIME ((uint64_t)(ENTRY_TIMES - 1) << ENTRY_TIME_AT)
#define ENTRY_DEAD ((uint64_t)1 << 63)

struct entry {
    _Atomic uint64_t word;
};

static inline uint64_t entry_word(struct entry *e) { return atomic_load_explicit(&e->word, memory_order_relaxed); }
/* A word's fields. */
static inline uint64_t entry_references(uint64_t w) { return w & ENTRY_REFERENCES; }
static inline unsigned entry_length(uint64_t w) { return w >> ENTRY_LENGTH_AT & 255; }
static inline unsigned entry_offset(uint64_t w) { return w >> ENTRY_OFFSET_AT & 4095; }
static inline unsigned entry_tag(uint64_t w) { return w >> ENTRY_TAG_AT & 7; }
static inline unsigned entry_time(uint64_t w) { return w >> ENTRY_TIME_AT & (ENTRY_TIMES - 1); }
/* What those who look for an entry without references need to know who last looked in vain: did a reference end since? The last one
 * surely makes room; one beside others may, because the others may be at hand only (intern/stock.h). */
enum entry_ended { ENTRY_NONE_ENDED, ENTRY_ONE_ENDED, ENTRY_LAST_ENDED };
extern _Atomic int entry_ended __attribute__((visibility("hidden")));
static inline void entry_tell_ended(bool last) {
    const int how = last ? ENTRY_LAST_ENDED : ENTRY_ONE_ENDED;
    if (atomic_load_explicit(&entry_ended, memory_order_relaxed) < how) atomic_store_explicit(&entry_ended, how, memory_order_relaxed);
}
/* Times are kept in units (nanoseconds), and go around. */
extern uint64_t entry_time_unit __attribute__((visibility("hidden")));
static inline unsigned entry_time_of(uint64_t now) { return (unsigned)(now / entry_time_unit % ENTRY_TIMES); }
static inline unsigned entry_age(unsigned time, unsigned now) { return (now + ENTRY_TIMES - time) % ENTRY_TIMES; }
/* What equal contents have in common. */
static inline uint64_t entry_kind(unsigned length, unsigned tag) { return (uint64_t)length << ENTRY_LENGTH_AT | (uint64_t)tag << ENTRY_TAG_AT; }
#define ENTRY_KIND ((uint64_t)255 << ENTRY_LENGTH_AT | (uint64_t)7 << ENTRY_TAG_AT)

/* Takes back the addition of entry_hold, which answered `w`. */
static inline void entry_drop(struct entry *e, uint64_t w) {
    if (likely(entry_references(w) < ENTRY_KEPT)) atomic_fetch_sub_explicit(&e->word, 1, memory_order_release);
    entry_tell_ended(entry_references(w) == 0);
}
/* Adds a reference; the word before. DEAD: nothing is changed, it is dead. */
static inline uint64_t entry_hold(struct entry *e) {
    uint64_t w = atomic_fetch_add_explicit(&e->word, 1, memory_order_acquire);
    if (unlikely(w & ENTRY_DEAD || entry_references(w) >= ENTRY_KEPT)) atomic_fetch_sub_explicit(&e->word, 1, memory_order_release);
    return w;
}
/* From now on nobody reads it; false: somebody refers to it or just did, or it is dead. */
static inline bool entry_die(struct entry *e) {
    uint64_t w = entry_word(e);
    if (w & ENTRY_DEAD || entry_references(w) > 0) return false;
    return atomic_compare_exchange_strong_explicit(&e->word, &w, ENTRY_DEAD, memory_order_acquire, memory_order_relaxed);
}
/* The end of being dead: alive, with these fields and one reference. */
static inline void entry_come_alive(struct entry *e, uint64_t fields) {
    atomic_fetch_add_explicit(&e->word, fields + 1 - ENTRY_DEAD, memory_order_release);
}
/* `count` references more, for who holds one. False: they are too many, and nothing is changed. */
static inline bool entry_hold_more(struct entry *e, uint64_t count) {
    if (entry_references(entry_word(e)) >= ENTRY_KEPT / 2) return false;
    atomic_fetch_add_explicit(&e->word, count, memory_order_acquire);
    return true;
}
/* `count` references end, and the entry's age counts from this time. The word after; DEAD: there are not so many. */
static inline uint64_t entry_release(struct entry *e, uint64_t count, unsigned time) {
    uint64_t w = entry_word(e), next;
    do {
        if (w & ENTRY_DEAD || entry_references(w) < count) return ENTRY_DEAD;
        if (unlikely(entry_references(w) >= ENTRY_KEPT)) return w;
        next = ((w - count) & ~ENTRY_TIME) | (uint64_t)(time % ENTRY_TIMES) << ENTRY_TIME_AT | ENTRY_TOUCHED;
    } while (!atomic_compare_exchange_weak_explicit(&e->word, &w, next, memory_order_release, memory_order_relaxed));
    entry_tell_ended(entry_references(next) == 0);
    return next;
}
static inline void entry_touch(struct entry *e, uint64_t w) {
    if (unlikely(!(w & ENTRY_TOUCHED))) atomic_fetch_or_explicit(&e->word, ENTRY_TOUCHED, memory_order_relaxed);
}
static inline void entry_untouch(struct entry *e) { atomic_fetch_and_explicit(&e->word, ~ENTRY_TOUCHED, memory_order_relaxed); }
#endif
