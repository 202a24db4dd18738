/* find.h: from a content to its entry, without a lock; two ways, each of which ends with a reference held and everything compared.
 *
 * Why a reader needs no lock (the states: entry.h). Entries lie in memory that is never unmapped, and an id always names the same
 * one, so a stale id still names an entry.
 * In the table a reader takes the ids of its hash's line that have its fragment; it *first* adds a reference, then looks at the
 * word that the addition found:
 *   - It says DEAD: the entry is being removed or reused. The reference is taken back.
 *   - It is alive: from here to the end of the reference it stays what it is, because removing begins by exchanging a
 *     word without references for DEAD, which now fails. Its fields are in the word itself; the bytes were written before the
 *     entry came alive (release) and are read after the addition (acquire). Length, tag and bytes are compared; nothing is
 *     believed because of how the reader came here. Equal: the reference is the answer's. Not equal: it is taken back.
 * In the stock (stock.h) it takes a reference out that was added like this before, and also compares.
 * Whatever a reader missed because lines change, the lookup under the lock finds: they change under the lock only. So a
 * reader's mistake is a slow hit, and never a wrong answer or a second copy.
 *
 * The hash only chooses whom to compare with, so XXH3's 64 bits do, and none is kept but a fragment: who removes an entry hashes its
 * bytes again. 128 bits would cost a hit 7 ns more and save nothing, because nothing is ever believed to be equal. */
#ifndef COPPICE_INTERN_FIND_H
#define COPPICE_INTERN_FIND_H
#include "intern/index.h"
#include "intern/slab.h"
#include "intern/stock.h"
#include "intern/table.h"
#include "intern/tags.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FIND_STEPS = 4 }; /* lines that a reader looks at */

static inline uint64_t find_hash(const void *bytes, size_t length, uint32_t tag) {
    return (XXH3_64bits(bytes, length) ^ tag * 0x9E3779B97F4A7C15ull) & intern_hash_bits;
}

/* What is looked for. */
struct wanted {
    const struct intern_content *content;
    uint64_t kind; /* as in an entry's word */
    uint64_t hash;
};
static inline uint64_t find_kind(const struct intern_content *c) {
    return entry_kind(c->length < ENTRY_LONG ? (unsigned)c->length : ENTRY_LONG, tag_number(c->tag));
}

/* Of an entry that is held: the word says where. */
static inline bool find_is_equal(const char *at, uint64_t w, const struct wanted *x) {
    const struct intern_content *c = x->content;
    if (unlikely((w & ENTRY_KIND) != x->kind)) return false;
    if (unlikely(entry_length(w) == ENTRY_LONG) && slab_length(at, w) != c->length) return false;
    if (unlikely(entry_tag(w) == ENTRY_TAGS) && slab_tag(at, w) != c->tag) return false;
    return likely(memcmp(at, c->bytes, c->length) == 0);
}

/* The addition that holds an entry lets nothing past it, so the bytes are called for before. A wrong address does no harm. */
static inline void find_fetch(const char *at, size_t length) {
    for (size_t i = 0; i < length && i < 256; i += 64) __builtin_prefetch(at + i);
}

/* The bytes of an entry if it is alive and of this content, with a reference more. */
static inline const char *find_held(uint32_t id, const struct wanted *x) {
    struct entry *e = slab_entry(id);
    find_fetch(slab_at(id, entry_word(e)), x->content->length);
    uint64_t w = entry_hold(e);
    if (unlikely(w & ENTRY_DEAD)) return NULL;
    const char *at = slab_at(id, w);
    if (likely(find_is_equal(at, w, x))) {
        entry_touch(e, w);
        return at;
    }
    entry_drop(e, w);
    return NULL;
}

/* The bytes of this content, with a reference more; NULL: not found in so many lines. */
static inline const char *find(const struct wanted *x, uint32_t lines) {
    const uint32_t fragment = index_fragment(x->hash);
    uint32_t n = index_home(x->hash);
    for (; lines > 0; lines--, n = index_next(n)) {
        struct index_line *line = &intern_index.line[n];
        unsigned place = index_first(x->hash);
        for (unsigned i = 0; i < INDEX_WORDS; i++, place = index_following(place)) {
            uint32_t id = atomic_load_explicit(&line->word[place], memory_order_acquire) ^ fragment;
            if (id >> intern_index.id_bits || id < SLAB_SLOTS) continue; /* of another fragment, or free */
            const char *at = find_held(id, x);
            if (likely(at != NULL)) return at;
        }
        if (atomic_load_explicit(&line->past, memory_order_relaxed) == 0) return NULL;
    }
    return NULL;
}

/* The same, of what this thread has at hand under the key. It compares first: when the word is still the same at the end, the slot had
 * references all the time, because only its thread, which is here, puts any in; and what is referenced does not change. */
static inline const char *find_at_hand(const struct wanted *x, uint64_t key) {
    struct stock_slot slot = stock_look(key);
    if (unlikely(!stock_has(&slot, key))) return NULL;
    struct entry *e = slab_entry(stock_id(slot.word));
    uint64_t w = entry_word(e);
    const char *at = slab_at(stock_id(slot.word), w);
    if (unlikely(!find_is_equal(at, w, x)) || unlikely(!stock_take(&slot))) return NULL;
    entry_touch(e, w);
    return at;
}
#endif
