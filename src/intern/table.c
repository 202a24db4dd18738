/* table.c: the table of contents; see table.h. How a content is found: find.h.
 *
 * One lock, not one a shard: whoever adds a content changes a mapping, for which the kernel takes the process's
 * mmap lock anyway, and what hits change (references, counters) is already apart, by entry and by thread.
 *
 * Order of use: a clock. A hit marks its entry *touched* if it is not; the *hand* goes around, takes marks away, and evicts
 * what has none. An exact list would be a shared write for each hit. Age counts from when a reference last ended;
 * an entry that is referenced has no age. Times are kept in units of 1/4096 of INTERN_MAX_AGE (134 ms at
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
#include "intern/find.h"
#include "intern/index.h"
#include "intern/slab.h"
#include "intern/stock.h"
#include "intern/tags.h"
#include "stats/counters.h"
#include <pthread.h>
#include <string.h>

enum { ROOM_ATTEMPTS = 64, LOOK_AGAIN_NS = 10000000 };
enum { TIME_SHIFT = 27, AGE_UNITS = 4096 };
enum { CLOCK_EVERY = 16 };              /* hits of a thread between two looks at the clock */

static struct {
    uint64_t most;
    /* the lock's */
    uint32_t hand;               /* an id */
    uint64_t entries, bytes;
    bool all_referenced;         /* the last round of the hand, at vain_at, found nothing */
    uint64_t vain_at;
    bool scarce;                 /* entries without references are few, not counting what is at hand */
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

static void after_fork_in_child(void) {
    stock_fork_child();
    after_fork();
}

static void make_table(void) {
    if (option_number(intern) == INTERN_OFF) return;
    uint64_t most = option_number(intern_max_entries), unit = option_number(intern_max_age) / AGE_UNITS;
    if (!slab_init(most) || !index_init(most, slab_id_bits())) {
        log_line("no memory for the table of coppice_intern; it answers NULL", NULL);
        return;
    }
    table.most = most;
    entry_time_unit = unit < (uint64_t)1 << TIME_SHIFT ? (uint64_t)1 << TIME_SHIFT : unit;
    table.hand = SLAB_SLOTS;
    stock_init();
    /* last of all handlers registered so far: its lock comes before the heap's */
    if (pthread_atfork(before_fork, after_fork, after_fork_in_child) != 0) return;
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
    counter_set(&counters->intern.held_bytes, slab_held() + index_held() + stock_held());
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

/* --- removing; under the lock */

static uint32_t tag_of(const char *at, uint64_t w) { return entry_tag(w) == ENTRY_TAGS ? slab_tag(at, w) : tag_of_number(entry_tag(w)); }

/* Removes an entry that nobody refers to; false: somebody does. */
static bool retire(uint32_t id) {
    struct entry *e = slab_entry(id);
    uint64_t w = entry_word(e);
    if (!entry_die(e)) return false;
    const char *at = slab_at(id, w);
    size_t length = slab_length(at, w);
    index_remove(find_hash(at, length, tag_of(at, w)), id);
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

/* Two rounds at most: the first takes marks away. Whether that was far to go says what the next one does first. */
static bool evict_unreferenced(void) {
    bool evicted = false;
    uint64_t seen = 0;
    while (!evicted && seen < 2 * table.entries) {
        table.hand = next_id(table.hand);
        struct entry *e = slab_entry(table.hand);
        uint64_t w = entry_word(e);
        if (w & ENTRY_DEAD) continue;
        seen++;
        if (entry_references(w) > 0) continue;
        if (w & ENTRY_TOUCHED) entry_untouch(e);
        else evicted = retire(table.hand);
    }
    table.scarce = seen > table.entries / 2;
    counter_add(&counters->intern.evictions, evicted);
    return evicted;
}

/* What to do when all is referenced is asked again and again then: no look through the table without a good chance, or too often. */
static bool looking_is_in_vain(uint64_t now) {
    int ended = atomic_load_explicit(&entry_ended, memory_order_relaxed);
    return table.all_referenced && (ended == ENTRY_NONE_ENDED || (ended == ENTRY_ONE_ENDED && now - table.vain_at < LOOK_AGAIN_NS));
}

static bool evict_one(uint64_t now) {
    if (table.entries == 0 || looking_is_in_vain(now)) return false;
    atomic_store_explicit(&entry_ended, ENTRY_NONE_ENDED, memory_order_relaxed);
    const bool scarce = table.scarce;
    bool evicted = !scarce && evict_unreferenced();
    if (!evicted && (stock_empty_all(entry_time_of(now)) || scarce)) evicted = evict_unreferenced();
    table.all_referenced = !evicted, table.vain_at = now;
    return evicted;
}

static bool too_old(uint64_t word, uint64_t now) {
    unsigned age = entry_age(entry_time(word), entry_time_of(now));
    return age <= ENTRY_TIMES / 2 && age * entry_time_unit > option_number(intern_max_age); /* beyond half: used just now */
}

static void cleanup(uint64_t now) {
    uint64_t interval = option_number(intern_cleanup_interval);
    atomic_store_explicit(&table.next_cleanup, now + interval < now ? UINT64_MAX : now + interval, memory_order_relaxed);
    stock_empty_all(entry_time_of(now));
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

static uint32_t take_block(const struct intern_content *c, uint64_t now, uint64_t *fields) {
    for (int attempt = 0;; attempt++) {
        uint32_t id = slab_put(c->bytes, c->length, c->tag, tag_number_given(c->tag), fields);
        if (id == SLAB_REFUSED) return SLAB_NO_ROOM;
        if (id != SLAB_NO_ROOM || attempt == ROOM_ATTEMPTS || !evict_one(now)) return id;
    }
}

static const char *add(const struct wanted *x, uint64_t now) {
    const struct intern_content *c = x->content;
    if (table.entries == table.most && !evict_one(now)) return NULL;
    uint64_t fields;
    uint32_t id = take_block(c, now, &fields);
    if (id == SLAB_NO_ROOM) return NULL;
    entry_come_alive(slab_entry(id), fields | (uint64_t)entry_time_of(now) << ENTRY_TIME_AT);
    index_add(x->hash, id);
    table.entries++, table.bytes += c->length;
    counter_add(&counters->intern.bytes_added, c->length);
    return slab_at(id, fields);
}

static COLD const char *find_or_add(const struct wanted *x, uint64_t now, bool *found) {
    if (heap_thread.state != THREAD_LIVE) count_ready();
    enter();
    struct wanted again = *x;
    again.kind = entry_kind(entry_length(x->kind), tag_number(x->content->tag)); /* it may have a number since */
    const char *at = find(&again, intern_index.lines);
    *found = at != NULL;
    if (!at && x->content->length <= SLAB_LENGTH_MOST) at = add(x, now);
    if (!at) counter_add(&counters->intern.refused, 1);
    publish();
    leave();
    return at;
}

/* --- the table's functions */

static COLD const void *intern_new(const struct wanted *x, uint64_t now) {
    bool found;
    const char *at = find_or_add(x, now ? now : clock_coarse_ns(), &found);
    count(found, at ? x->content->length : 0);
    return at;
}

/* What this thread has not at hand. A hit: a hash, four cache lines read, the bytes compared, and an addition to a word that all threads use. */
static __attribute__((noinline)) const void *look_in_table(const struct intern_content *c, bool stocked, uint64_t key, uint64_t now) {
    const struct wanted x = { c, find_kind(c), find_hash(c->bytes, c->length, c->tag) };
    const char *at = find(&x, FIND_STEPS);
    if (unlikely(!at)) return intern_new(&x, now);
    if (stocked) stock_note(key, slab_id_at(at));
    else stock_want();
    count(true, c->length);
    return at;
}

/* A hit at hand: a key, the slot and the entry read, the bytes compared, and one atomic operation on a line of this thread's own. `now`
 * 0: the clock says. */
HOT const void *look_up(const struct intern_content *c, uint64_t now) {
    const bool stocked = likely(stock_own != NULL) && likely(stock_keeps(c->length));
    uint64_t key = 0;
    if (likely(stocked)) {
        key = stock_key(c->bytes, c->length);
        const char *at = find_at_hand(&(struct wanted){ c, find_kind(c), 0 }, key);
        if (likely(at != NULL)) {
            count(true, c->length);
            return at;
        }
    }
    return look_in_table(c, stocked, key, now);
}

static inline bool time_to_look(void) { return heap_thread.state != THREAD_LIVE || counter_get(&heap_thread.slot->intern_lookups) % CLOCK_EVERY == 0; }

const void *intern(const void *bytes, size_t length, uint32_t tag) {
    if (unlikely(!bytes && length > 0)) return NULL;
    if (unlikely(!bytes)) bytes = "";
    if (unlikely(time_to_look())) cleanup_if_due(clock_coarse_ns());
    return look_up(&(struct intern_content){ bytes, length, tag }, 0);
}

const void *intern_content(const struct intern_content *c, uint64_t now) {
    cleanup_if_due(now);
    return look_up(c, now);
}

bool intern_release_at(const void *interned, uint64_t now) {
    const unsigned time = entry_time_of(now);
    uint32_t id = slab_id_at(interned);
    if (!id) return false;
    struct entry *e = slab_entry(id);
    uint64_t w = atomic_load_explicit(&e->word, memory_order_acquire);
    if (w & ENTRY_DEAD || entry_references(w) == 0) return false;
    size_t length = slab_length(interned, w);
    enum stock_put put = STOCK_NOT_MINE;
    if (likely(stock_own && stock_keeps(length))) put = stock_put(stock_key(interned, length), id, w, time);
    return put == STOCK_PUT || (put == STOCK_NOT_MINE && !(entry_release(e, 1, time) & ENTRY_DEAD));
}

bool intern_release(const void *interned) { return intern_release_at(interned, clock_coarse_ns()); }

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
            if (w & ENTRY_DEAD || slab_id_at(slab_at(id, w)) != id || entry_references(w) < stock_at_hand(id)) return false;
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
