/* table.c: the table of contents; see table.h.
 *
 * Why a reader needs no lock (the states: entry.h). Entries lie in one array that is never unmapped, so a stale id still names an entry. A reader
 * goes along a bucket's chain, and where the hash is right it *first* adds a reference, then looks:
 *   - The word it added to says DEAD: the entry is being removed or reused. It takes the reference back and asks again
 *     under the lock.
 *   - It is alive: from here to the end of the reference it stays what it is, because removing begins by exchanging a
 *     state of exactly 0 for DEAD, which now fails. Length, tag, block and bytes were written before the entry came
 *     alive (release) and are read after the addition (acquire). All of them are compared; nothing is believed
 *     because of how the reader came here. Equal: the reference is the answer's. Not equal: it is taken back.
 * An entry that was removed and reused under a reader may lead it into another chain or in a circle, so it gives up
 * after a few steps. Whatever it missed, the lookup under the lock finds: chains change under the lock only. So a
 * reader's mistake is a slow hit, and never a wrong answer or a second copy.
 *
 * One lock, not one a shard: whoever adds a content changes a mapping, for which the kernel takes the process's
 * mmap lock anyway, and what hits change (references, counters) is already apart, by entry and by thread.
 *
 * The hash only chooses whom to compare with, so XXH3's 64 bits do (32 are kept): 128 would cost a hit 7 ns more and save
 * nothing, because nothing is ever believed to be equal.
 *
 * Order of use: a clock. A hit marks its entry *touched* if it is not; the *hand* goes around, takes marks away, and evicts
 * what has none. An exact list would be a shared write for each hit. Age counts from the end of the last reference, so
 * only that release reads the time; an entry that is referenced has no age.
 *
 * fork: the lock is taken around it, the memory is private, so the child has a whole table of its own, with the parent's
 * references (an addition of another thread under way stays for ever, and keeps one entry). In a handler that interrupted
 * this very code the lock is left alone; parent and child both go on and let it go. */
#include "intern/table.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "heap/thread.h"
#include "intern/entry.h"
#include "intern/slab.h"
#include "stats/counters.h"
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { STEPS = 32, ANY_STEPS = -1, ROOM_ATTEMPTS = 64 };
enum { TIME_SHIFT = 27 }; /* times are kept in units of 134 ms */
enum { CLOCK_EVERY = 16 };              /* hits of a thread between two looks at the clock */

static struct {
    struct entry *entry;         /* [1..most]; 0 is no id */
    _Atomic uint32_t *bucket;    /* id of a chain's first, 0: none */
    uint32_t mask, most;
    /* the lock's */
    uint32_t ids;                /* entries [1..ids] have been used */
    uint32_t free;               /* first of the free ones */
    uint32_t entries, hand;
    uint64_t bytes;
    bool all_referenced;         /* the last round of the hand found nothing, and ... */
    _Atomic bool released;       /* ... since then somebody gave a last reference back */
    _Atomic uint64_t next_cleanup; /* 0: the first call settles it */
} table;
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
    uint64_t most = option_number(intern_max_entries), buckets = 16;
    while (buckets < most) buckets *= 2;
    table.entry = sys_map(NULL, (most + 1) * sizeof *table.entry, PROT_READ | PROT_WRITE);
    table.bucket = sys_map(NULL, buckets * sizeof *table.bucket, PROT_READ | PROT_WRITE);
    if (!table.entry || !table.bucket || !slab_init(most)) {
        log_line("no memory for the table of coppice_intern; it answers NULL", NULL);
        return;
    }
    table.most = (uint32_t)most, table.mask = (uint32_t)buckets - 1;
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
    counter_set(&counters->intern.held_bytes, slab_held() + table.ids * sizeof *table.entry + (table.mask + 1) * sizeof *table.bucket);
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

static inline uint32_t time_of(uint64_t now) { return (uint32_t)(now >> TIME_SHIFT) << 1; }

static inline void touch(struct entry *e) {
    uint32_t used = atomic_load_explicit(&e->used, memory_order_relaxed);
    if (!(used & ENTRY_TOUCHED)) atomic_store_explicit(&e->used, used | ENTRY_TOUCHED, memory_order_relaxed);
}

static inline _Atomic uint32_t *bucket_of(uint32_t hash) { return &table.bucket[hash & table.mask]; }

static inline bool is_equal(struct entry *e, const struct intern_content *c) {
    return likely(e->length == c->length && e->tag == c->tag) &&
           likely(memcmp(slab_at(atomic_load_explicit(&e->where, memory_order_relaxed)), c->bytes, c->length) == 0);
}

/* Adds a reference if the entry is alive and of this content. */
static inline bool hold_if_equal(struct entry *e, const struct intern_content *c) {
    if (unlikely(!entry_hold(e))) return false;
    if (is_equal(e, c)) return true;
    entry_drop(e);
    return false;
}

/* The entry of this content, with a reference more; 0: not found in so many steps. */
static inline uint32_t find(const struct intern_content *c, int steps) {
    uint32_t id = atomic_load_explicit(bucket_of(c->hash), memory_order_acquire);
    for (; id && steps != 0; steps--) {
        struct entry *e = &table.entry[id];
        if (atomic_load_explicit(&e->hash, memory_order_relaxed) == c->hash && hold_if_equal(e, c)) return id;
        id = atomic_load_explicit(&e->next, memory_order_acquire);
    }
    return 0;
}

/* --- removing; under the lock */

static void unlink_entry(uint32_t id) {
    struct entry *e = &table.entry[id];
    _Atomic uint32_t *link = bucket_of(atomic_load_explicit(&e->hash, memory_order_relaxed));
    while (atomic_load_explicit(link, memory_order_relaxed) != id) link = &table.entry[atomic_load_explicit(link, memory_order_relaxed)].next;
    atomic_store_explicit(link, atomic_load_explicit(&e->next, memory_order_relaxed), memory_order_release);
}

static void put_free(uint32_t id) {
    atomic_store_explicit(&table.entry[id].next, table.free, memory_order_relaxed);
    table.free = id;
}

/* Removes an entry that nobody refers to; false: somebody does. */
static bool retire(uint32_t id) {
    struct entry *e = &table.entry[id];
    if (!entry_die(e)) return false;
    unlink_entry(id);
    slab_free(atomic_load_explicit(&e->where, memory_order_relaxed));
    table.entries--, table.bytes -= e->length;
    put_free(id);
    return true;
}

/* Two rounds at most: the first takes marks away. */
static bool evict_one(void) {
    if (table.all_referenced && !atomic_load_explicit(&table.released, memory_order_relaxed)) return false;
    atomic_store_explicit(&table.released, false, memory_order_relaxed);
    table.all_referenced = false;
    for (uint64_t step = 0; step < 2 * (uint64_t)table.ids; step++) {
        table.hand = table.hand % table.ids + 1;
        struct entry *e = &table.entry[table.hand];
        if (entry_state(e) != 0) continue;
        uint32_t used = atomic_load_explicit(&e->used, memory_order_relaxed);
        if (used & ENTRY_TOUCHED) atomic_store_explicit(&e->used, used & ~(uint32_t)ENTRY_TOUCHED, memory_order_relaxed);
        else if (retire(table.hand)) {
            counter_add(&counters->intern.evictions, 1);
            return true;
        }
    }
    table.all_referenced = true;
    return false;
}

static bool too_old(const struct entry *e, uint64_t now) {
    const uint32_t half = UINT32_MAX / 2;
    uint32_t age = time_of(now) - (atomic_load_explicit(&e->used, memory_order_relaxed) & ~(uint32_t)ENTRY_TOUCHED);
    return age <= half && (uint64_t)(age >> 1) << TIME_SHIFT > option_number(intern_max_age); /* beyond half: used just now */
}

static void cleanup(uint64_t now) {
    uint64_t interval = option_number(intern_cleanup_interval);
    atomic_store_explicit(&table.next_cleanup, now + interval < now ? UINT64_MAX : now + interval, memory_order_relaxed);
    for (uint32_t id = 1; id <= table.ids; id++)
        if (entry_state(&table.entry[id]) == 0 && too_old(&table.entry[id], now) && retire(id))
            counter_add(&counters->intern.expired, 1);
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

/* A dead entry in no list; 0: the table is full of referenced ones. */
static uint32_t take_entry(void) {
    if (!table.free && table.ids < table.most) {
        atomic_store_explicit(&table.entry[++table.ids].state, ENTRY_DEAD, memory_order_relaxed);
        return table.ids;
    }
    if (!table.free && !evict_one()) return 0;
    uint32_t id = table.free;
    table.free = atomic_load_explicit(&table.entry[id].next, memory_order_relaxed);
    return id;
}

static uint32_t take_block(uint32_t id, const struct intern_content *c) {
    for (int attempt = 0;; attempt++) {
        uint32_t where = slab_put(id, c->bytes, c->length);
        if (where == SLAB_REFUSED) return SLAB_NO_ROOM;
        if (where != SLAB_NO_ROOM || attempt == ROOM_ATTEMPTS || !evict_one()) return where;
    }
}

static uint32_t add(const struct intern_content *c) {
    uint32_t id = take_entry();
    if (!id) return 0;
    struct entry *e = &table.entry[id];
    uint32_t where = take_block(id, c);
    if (where == SLAB_NO_ROOM) {
        put_free(id);
        return 0;
    }
    e->length = (uint32_t)c->length, e->tag = c->tag;
    atomic_store_explicit(&e->where, where, memory_order_relaxed);
    atomic_store_explicit(&e->hash, c->hash, memory_order_relaxed);
    atomic_store_explicit(&e->used, 0, memory_order_relaxed);
    _Atomic uint32_t *bucket = bucket_of(c->hash);
    atomic_store_explicit(&e->next, atomic_load_explicit(bucket, memory_order_relaxed), memory_order_relaxed);
    entry_come_alive(e);
    atomic_store_explicit(bucket, id, memory_order_release);
    table.entries++, table.bytes += c->length;
    counter_add(&counters->intern.bytes_added, c->length);
    return id;
}

static COLD uint32_t find_or_add(const struct intern_content *c, bool *found) {
    if (heap_thread.state != THREAD_LIVE) count_ready();
    enter();
    uint32_t id = find(c, ANY_STEPS);
    *found = id != 0;
    if (!id && c->length <= SLAB_LENGTH_MOST) id = add(c);
    if (!id) counter_add(&counters->intern.refused, 1);
    publish();
    leave();
    return id;
}

/* --- the table's functions */

static inline const char *address_of(uint32_t id) { return slab_at(atomic_load_explicit(&table.entry[id].where, memory_order_relaxed)); }

static COLD const void *intern_new(const struct intern_content *c) {
    bool found;
    uint32_t id = find_or_add(c, &found);
    count(found, id ? c->length : 0);
    return id ? address_of(id) : NULL;
}

/* A hit: a hash, two or three cache lines read, the bytes compared, one atomic addition. NULL: not found here. */
static inline const void *hit(const struct intern_content *c) {
    uint32_t id = find(c, STEPS);
    if (unlikely(!id)) return NULL;
    touch(&table.entry[id]);
    count(true, c->length);
    return address_of(id);
}

static inline bool time_to_look(void) { return heap_thread.state != THREAD_LIVE || counter_get(&heap_thread.slot->intern_lookups) % CLOCK_EVERY == 0; }

const void *intern(const void *bytes, size_t length, uint32_t tag) {
    if (unlikely(!bytes && length > 0)) return NULL;
    if (unlikely(!bytes)) bytes = "";
    if (unlikely(time_to_look())) cleanup_if_due(clock_coarse_ns());
    struct intern_content c = { bytes, length, tag, (uint32_t)XXH3_64bits(bytes, length) ^ tag * 0x9E3779B1u };
    const void *interned = hit(&c);
    return likely(interned) ? interned : intern_new(&c);
}

const void *intern_content(const struct intern_content *c, uint64_t now) {
    cleanup_if_due(now);
    const void *interned = hit(c);
    return interned ? interned : intern_new(c);
}

/* The entry whose bytes are at this address, NULL: none's. */
static struct entry *entry_at(const void *interned) {
    uint32_t id = slab_owner(interned);
    if (id == 0 || id > table.most) return NULL;
    struct entry *e = &table.entry[id];
    return slab_at(atomic_load_explicit(&e->where, memory_order_relaxed)) == interned ? e : NULL;
}

/* The release of the last reference settles from when the entry's age counts: before it, because after it the entry may be
 * somebody else's. */
static inline bool give_back(const void *interned, uint64_t (*time)(uint64_t), uint64_t argument) {
    struct entry *e = entry_at(interned);
    if (!e) return false;
    uint64_t state = entry_state(e);
    do {
        if (state == 0 || state & ENTRY_DEAD) return false;
        if (state == 1) atomic_store_explicit(&e->used, time_of(time(argument)) | ENTRY_TOUCHED, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&e->state, &state, state - 1, memory_order_release, memory_order_relaxed));
    if (state == 1 && !atomic_load_explicit(&table.released, memory_order_relaxed)) atomic_store_explicit(&table.released, true, memory_order_relaxed);
    return true;
}

static uint64_t given(uint64_t now) { return now; }
static uint64_t asked(uint64_t unused) { return clock_coarse_ns(); }
bool intern_release_at(const void *interned, uint64_t now) { return give_back(interned, given, now); }
bool intern_release(const void *interned) { return give_back(interned, asked, 0); }

bool intern_length(const void *interned, size_t *length) {
    struct entry *e = entry_at(interned);
    if (!e || atomic_load_explicit(&e->state, memory_order_acquire) & ENTRY_DEAD) return false;
    *length = e->length;
    return true;
}

static bool entry_is_valid(uint32_t id, const _Atomic uint32_t *bucket) {
    struct entry *e = &table.entry[id];
    return id <= table.ids && !(atomic_load(&e->state) & ENTRY_DEAD) && bucket_of(atomic_load(&e->hash)) == bucket && slab_owner(slab_at(atomic_load(&e->where))) == id;
}

bool intern_is_valid(void) {
    uint64_t linked = 0, bytes = 0, free = 0;
    bool valid = true;
    enter();
    for (uint32_t b = 0; b <= table.mask; b++)
        for (uint32_t id = atomic_load(&table.bucket[b]); id && valid; id = atomic_load(&table.entry[id].next)) {
            valid = entry_is_valid(id, &table.bucket[b]) && linked++ < table.ids;
            bytes += table.entry[id].length;
        }
    for (uint32_t id = table.free; id && valid; id = atomic_load(&table.entry[id].next)) valid = free++ < table.ids && atomic_load(&table.entry[id].state) & ENTRY_DEAD;
    valid = valid && linked == table.entries && bytes == table.bytes && linked + free == table.ids && table.entries <= table.most;
    leave();
    return valid;
}
