/* table.c: the table of contents; see table.h.
 *
 * Why a reader needs no lock (the states: entry.h). Entries lie in memory that is never unmapped, and an id always names the same
 * one, so a stale id still names an entry. A reader takes the ids of its hash's line that have its fragment; it *first* adds a
 * reference, then looks at the word that the addition found:
 *   - It says DEAD: the entry is being removed or reused. The reference is taken back.
 *   - It is alive: from here to the end of the reference it stays what it is, because removing begins by exchanging a
 *     word without references for DEAD, which now fails. Its fields are in the word itself; the bytes were written before the
 *     entry came alive (release) and are read after the addition (acquire). Length, tag and bytes are compared; nothing is
 *     believed because of how the reader came here. Equal: the reference is the answer's. Not equal: it is taken back.
 * Whatever a reader missed because lines change, the lookup under the lock finds: they change under the lock only. So a
 * reader's mistake is a slow hit, and never a wrong answer or a second copy.
 *
 * One lock, not one a shard: whoever adds a content changes a mapping, for which the kernel takes the process's
 * mmap lock anyway, and what hits change (references, counters) is already apart, by entry and by thread.
 *
 * The hash only chooses whom to compare with, so XXH3's 64 bits do, and none is kept but a fragment: who removes an entry hashes its
 * bytes again. 128 bits would cost a hit 7 ns more and save nothing, because nothing is ever believed to be equal.
 *
 * Order of use: a clock. A hit marks its entry *touched* if it is not; the *hand* goes around, takes marks away, and evicts
 * what has none. An exact list would be a shared write for each hit. Age counts from the end of the last reference, so
 * only that release reads the time; an entry that is referenced has no age. Times are kept in units of 1/4096 of INTERN_MAX_AGE (134 ms at
 * least) and fifteen bits.
 *
 * fork: the lock is taken around it, the memory is private, so the child has a whole table of its own, with the parent's
 * references (an addition of another thread under way stays for ever, and keeps one entry). In a handler that interrupted
 * this very code the lock is left alone; parent and child both go on and let it go. */
#include "intern/table.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/options.h"
#include "heap/thread.h"
#include "intern/entry.h"
#include "intern/index.h"
#include "intern/slab.h"
#include "intern/tags.h"
#include "stats/counters.h"
#include <pthread.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { STEPS = 4, ROOM_ATTEMPTS = 64 }; /* lines that a reader looks at */
enum { TIME_SHIFT = 27, AGE_UNITS = 4096 };
enum { CLOCK_EVERY = 16 };              /* hits of a thread between two looks at the clock */

static struct {
    uint64_t most;
    uint64_t time_unit;
    /* the lock's */
    uint32_t hand;               /* an id */
    uint64_t entries, bytes;
    bool all_referenced;         /* the last round of the hand found nothing, and ... */
    _Atomic bool released;       /* ... since then somebody gave a last reference back */
    _Atomic uint64_t next_cleanup; /* 0: the first call settles it */
} table;
uint64_t intern_hash_bits = UINT64_MAX;
static struct lock writing = LOCK_INIT(RANK_INTERN);
static _Thread_local unsigned inside; /* this thread has the lock, or is about to */

_Atomic bool intern_started;

/* --- start and fork */

static void enter(void) {
    inside++;
    atomic_signal_fence(memory_order_seq_cst);
    lock_take(&writing);
}

static void leave(void) {
    lock_release(&writing);
    atomic_signal_fence(memory_order_seq_cst);
    inside--;
}

static _Thread_local unsigned left_alone; /* forks of this thread under way that leave the lock alone */

static void before_fork(void) {
    if (inside) left_alone++;
    else enter();
}

static void after_fork(void) {
    if (left_alone) left_alone--;
    else leave();
}

static void make_table(void) {
    if (option_number(intern) == INTERN_OFF) return;
    uint64_t most = option_number(intern_max_entries), unit = option_number(intern_max_age) / AGE_UNITS;
    if (!slab_init(most) || !index_init(most, slab_id_bits())) {
        log_line("no memory for the table of coppice_intern; it answers NULL", NULL);
        return;
    }
    table.most = most;
    table.time_unit = unit < (uint64_t)1 << TIME_SHIFT ? (uint64_t)1 << TIME_SHIFT : unit;
    table.hand = SLAB_SLOTS;
    /* last of all handlers registered so far: its lock comes before the heap's */
    if (pthread_atfork(before_fork, after_fork, after_fork) != 0) return;
    atomic_store_explicit(&intern_started, true, memory_order_release);
}

bool intern_start(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_table);
    return intern_ready();
}

/* --- counting */

static void publish(void) {
    counter_set(&counters->intern.entries, table.entries);
    counter_set(&counters->intern.bytes_stored, table.bytes);
    counter_set(&counters->intern.held_bytes, slab_held() + index_held());
}

/* The counters of this process and thread are in place, before any is changed: a fork's child has them late. */
static COLD void count_ready(void) {
    heap_thread_ready();
    if (heap_thread.state == THREAD_LIVE) return;
    heap_settle_child();
    if (counter_get(&counters->intern.held_bytes)) return;
    enter();
    publish();
    leave();
}

static COLD void count_shared(bool hit, size_t length) {
    counter_add(&counters->late.intern_lookups, 1);
    counter_add(&counters->late.intern_hits, hit);
    counter_add(&counters->late.intern_bytes_in, length);
}

static inline void count(bool hit, size_t length) {
    if (unlikely(heap_thread.state != THREAD_LIVE)) {
        count_ready();
        if (heap_thread.state != THREAD_LIVE) {
            count_shared(hit, length);
            return;
        }
    }
    struct thread_counters *slot = heap_thread.slot;
    counter_bump(&slot->intern_lookups, 1);
    counter_bump(&slot->intern_hits, hit);
    counter_bump(&slot->intern_bytes_in, length);
}

/* --- finding */

static inline uint64_t hash_of(const void *bytes, size_t length, uint32_t tag) {
    return (XXH3_64bits(bytes, length) ^ tag * 0x9E3779B97F4A7C15ull) & intern_hash_bits;
}

/* What is looked for. */
struct wanted {
    const struct intern_content *content;
    uint64_t hash, kind;
};
static inline struct wanted wanted(const struct intern_content *c) {
    unsigned length = c->length < ENTRY_LONG ? (unsigned)c->length : ENTRY_LONG;
    return (struct wanted){ c, hash_of(c->bytes, c->length, c->tag), entry_kind(length, tag_number(c->tag)) };
}

/* Of an entry that is held: the word says where. */
static inline bool is_equal(const char *at, uint64_t w, const struct wanted *x) {
    const struct intern_content *c = x->content;
    if (unlikely((w & ENTRY_KIND) != x->kind)) return false;
    if (unlikely(entry_length(w) == ENTRY_LONG) && slab_length(at, w) != c->length) return false;
    if (unlikely(entry_tag(w) == ENTRY_TAGS) && slab_tag(at, w) != c->tag) return false;
    return likely(memcmp(at, c->bytes, c->length) == 0);
}

/* The addition that holds an entry lets nothing past it, so the bytes are called for before. A wrong address does no harm. */
static inline void fetch_ahead(const char *at, size_t length) {
    for (size_t i = 0; i < length && i < 256; i += 64) __builtin_prefetch(at + i);
}

/* The bytes of an entry if it is alive and of this content, with a reference more. */
static inline const char *hold_if_equal(uint32_t id, const struct wanted *x) {
    struct entry *e = slab_entry(id);
    fetch_ahead(slab_at(id, entry_word(e)), x->content->length);
    uint64_t w = entry_hold(e);
    if (unlikely(w & ENTRY_DEAD)) return NULL;
    const char *at = slab_at(id, w);
    if (likely(is_equal(at, w, x))) {
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
            const char *at = hold_if_equal(id, x);
            if (likely(at != NULL)) return at;
        }
        if (atomic_load_explicit(&line->past, memory_order_relaxed) == 0) return NULL;
    }
    return NULL;
}

/* --- removing; under the lock */

static uint32_t tag_of(const char *at, uint64_t w) { return entry_tag(w) == ENTRY_TAGS ? slab_tag(at, w) : tag_of_number(entry_tag(w)); }

/* Removes an entry that nobody refers to; false: somebody does. */
static bool retire(uint32_t id) {
    struct entry *e = slab_entry(id);
    uint64_t w = entry_word(e);
    if (!entry_die(e)) return false;
    const char *at = slab_at(id, w);
    size_t length = slab_length(at, w);
    index_remove(hash_of(at, length, tag_of(at, w)), id);
    slab_free(id, w);
    table.entries--, table.bytes -= length;
    return true;
}

/* The next id that there is, around and around. */
static uint32_t next_id(uint32_t id) {
    uint32_t page = id / SLAB_SLOTS;
    if (id % SLAB_SLOTS + 1 < slab_store.page[page].slots) return id + 1;
    do page = page + 1 < slab_store.pages_top ? page + 1 : 1;
    while (slab_store.page[page].slots == 0 && page != id / SLAB_SLOTS);
    return page * SLAB_SLOTS;
}

/* Two rounds at most: the first takes marks away. */
static bool evict_one(void) {
    if (table.entries == 0 || (table.all_referenced && !atomic_load_explicit(&table.released, memory_order_relaxed))) return false;
    atomic_store_explicit(&table.released, false, memory_order_relaxed);
    table.all_referenced = false;
    for (uint64_t seen = 0; seen < 2 * table.entries;) {
        table.hand = next_id(table.hand);
        struct entry *e = slab_entry(table.hand);
        uint64_t w = entry_word(e);
        if (w & ENTRY_DEAD) continue;
        seen++;
        if (entry_references(w) > 0) continue;
        if (w & ENTRY_TOUCHED) entry_untouch(e);
        else if (retire(table.hand)) {
            counter_add(&counters->intern.evictions, 1);
            return true;
        }
    }
    table.all_referenced = true;
    return false;
}

static inline unsigned time_of(uint64_t now) { return (unsigned)(now / table.time_unit % ENTRY_TIMES); }

static bool too_old(uint64_t word, uint64_t now) {
    unsigned age = (time_of(now) + ENTRY_TIMES - entry_time(word)) % ENTRY_TIMES;
    return age <= ENTRY_TIMES / 2 && age * table.time_unit > option_number(intern_max_age); /* beyond half: used just now */
}

static void cleanup(uint64_t now) {
    uint64_t interval = option_number(intern_cleanup_interval);
    atomic_store_explicit(&table.next_cleanup, now + interval < now ? UINT64_MAX : now + interval, memory_order_relaxed);
    for (uint32_t page = 1; page < slab_store.pages_top; page++)
        for (unsigned slot = 0; slot < slab_store.page[page].slots; slot++) {
            uint64_t w = entry_word(slab_slot(page, slot));
            if (!(w & ENTRY_DEAD) && entry_references(w) == 0 && too_old(w, now) && retire(page * SLAB_SLOTS + slot))
                counter_add(&counters->intern.expired, 1);
        }
    publish();
}

/* Takes the lock, if there is something to do. */
static COLD void cleanup_if_due(uint64_t now) {
    if (now < atomic_load_explicit(&table.next_cleanup, memory_order_relaxed)) return;
    if (heap_thread.state != THREAD_LIVE) count_ready();
    enter();
    if (now >= atomic_load_explicit(&table.next_cleanup, memory_order_relaxed)) cleanup(now);
    leave();
}

void intern_expire(uint64_t now) { cleanup_if_due(now); }

/* --- adding; under the lock */

static uint32_t take_block(const struct intern_content *c, uint64_t *fields) {
    for (int attempt = 0;; attempt++) {
        uint32_t id = slab_put(c->bytes, c->length, c->tag, tag_number_given(c->tag), fields);
        if (id == SLAB_REFUSED) return SLAB_NO_ROOM;
        if (id != SLAB_NO_ROOM || attempt == ROOM_ATTEMPTS || !evict_one()) return id;
    }
}

static const char *add(const struct wanted *x) {
    const struct intern_content *c = x->content;
    if (table.entries == table.most && !evict_one()) return NULL;
    uint64_t fields;
    uint32_t id = take_block(c, &fields);
    if (id == SLAB_NO_ROOM) return NULL;
    entry_come_alive(slab_entry(id), fields);
    index_add(x->hash, id);
    table.entries++, table.bytes += c->length;
    counter_add(&counters->intern.bytes_added, c->length);
    return slab_at(id, fields);
}

static COLD const char *find_or_add(const struct wanted *x, bool *found) {
    if (heap_thread.state != THREAD_LIVE) count_ready();
    enter();
    struct wanted again = *x;
    again.kind = entry_kind(entry_length(x->kind), tag_number(x->content->tag)); /* it may have a number since */
    const char *at = find(&again, intern_index.lines);
    *found = at != NULL;
    if (!at && x->content->length <= SLAB_LENGTH_MOST) at = add(x);
    if (!at) counter_add(&counters->intern.refused, 1);
    publish();
    leave();
    return at;
}

/* --- the table's functions */

static COLD const void *intern_new(const struct wanted *x) {
    bool found;
    const char *at = find_or_add(x, &found);
    count(found, at ? x->content->length : 0);
    return at;
}

/* A hit: a hash, four cache lines read, the bytes compared, one atomic addition. */
static inline const void *look_up(const struct intern_content *c) {
    struct wanted x = wanted(c);
    const char *at = find(&x, STEPS);
    if (unlikely(!at)) return intern_new(&x);
    count(true, c->length);
    return at;
}

static inline bool time_to_look(void) { return heap_thread.state != THREAD_LIVE || counter_get(&heap_thread.slot->intern_lookups) % CLOCK_EVERY == 0; }

const void *intern(const void *bytes, size_t length, uint32_t tag) {
    if (unlikely(!bytes && length > 0)) return NULL;
    if (unlikely(!bytes)) bytes = "";
    if (unlikely(time_to_look())) cleanup_if_due(clock_coarse_ns());
    return look_up(&(struct intern_content){ bytes, length, tag });
}

const void *intern_content(const struct intern_content *c, uint64_t now) {
    cleanup_if_due(now);
    return look_up(c);
}

/* The last release of an entry settles from when its age counts: in the same word, because a moment later the entry may be
 * somebody else's. */
static inline bool give_back(const void *interned, uint64_t (*time)(uint64_t), uint64_t argument) {
    uint32_t id = slab_id_at(interned);
    if (!id) return false;
    struct entry *e = slab_entry(id);
    uint64_t references = entry_references(entry_word(e));
    if (!entry_release(e, references == 1 ? time_of(time(argument)) : 0)) return false;
    if (references == 1 && !atomic_load_explicit(&table.released, memory_order_relaxed)) atomic_store_explicit(&table.released, true, memory_order_relaxed);
    return true;
}

static uint64_t given(uint64_t now) { return now; }
static uint64_t asked(uint64_t unused) { return clock_coarse_ns(); }
bool intern_release_at(const void *interned, uint64_t now) { return give_back(interned, given, now); }
bool intern_release(const void *interned) { return give_back(interned, asked, 0); }

bool intern_length(const void *interned, size_t *length) {
    uint32_t id = slab_id_at(interned);
    if (!id) return false;
    uint64_t w = atomic_load_explicit(&slab_entry(id)->word, memory_order_acquire);
    if (w & ENTRY_DEAD) return false;
    *length = slab_length(interned, w);
    return true;
}

/* Every word of the index: does it lead to an entry that is alive and belongs here? */
static bool index_is_valid(uint64_t *linked, uint64_t *bytes) {
    const uint32_t mask = ((uint32_t)1 << intern_index.id_bits) - 1;
    for (uint32_t n = 0; n < intern_index.lines; n++)
        for (unsigned i = 0; i < INDEX_WORDS; i++) {
            uint32_t id = atomic_load(&intern_index.line[n].word[i]) & mask;
            if (!id) continue;
            uint64_t w = entry_word(slab_entry(id));
            if (w & ENTRY_DEAD || slab_id_at(slab_at(id, w)) != id) return false;
            ++*linked, *bytes += slab_length(slab_at(id, w), w);
        }
    return true;
}

bool intern_is_valid(void) {
    uint64_t linked = 0, bytes = 0, live = 0;
    enter();
    bool valid = index_is_valid(&linked, &bytes);
    for (uint32_t page = 1; page < slab_store.pages_top && valid; page++) {
        valid = slab_page_is_valid(page);
        if (slab_store.page[page].pages && slab_store.page[page].pages != UINT16_MAX) live += slab_store.page[page].live;
    }
    valid = valid && linked == table.entries && live == linked && bytes == table.bytes && table.entries <= table.most;
    leave();
    return valid;
}
