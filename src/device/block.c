/* block.c: descriptors from mapped slabs, and an open-addressing hash table from address to descriptor.
 * Readers take no lock: a slot is one pointer, published with release order. The table doubles under its lock; the old
 * one stays mapped (at most as much again as the new one), because a reader may still look at it. A reader that frees
 * an address got it from the thread that inserted it, so it sees a table that holds it. */
#include "device/block.h"
#include "base/lock.h"
#include "base/sys.h"
#include "device/shard.h"
#include <sys/mman.h>

enum { SLAB_BYTES = 64 << 10, FIRST_SLOTS = 1 << 12 };
#define TOMBSTONE ((struct block *)1)

struct table {
    uint64_t mask;
    _Atomic(struct block *) slot[];
};
static struct lock table_lock = LOCK_INIT(RANK_BLOCKS);
static _Atomic(struct table *) table;
static uint64_t used_slots; /* blocks and tombstones, under the lock */
static uint64_t block_count;
static LIST_HEAD(, block) spare;

static inline uint64_t slot_of(uint64_t address) { return (address >> 8) * 0x9e3779b97f4a7c15ull >> 20; }

struct block *block_find(uint64_t address) {
    struct table *t = atomic_load_explicit(&table, memory_order_acquire);
    if (!t) return NULL;
    for (uint64_t i = slot_of(address);; i++) {
        struct block *b = atomic_load_explicit(&t->slot[i & t->mask], memory_order_acquire);
        if (!b) return NULL;
        if (b != TOMBSTONE && b->address == address) return b;
    }
}

static void insert(struct table *t, struct block *b) {
    uint64_t i = slot_of(b->address);
    struct block *there;
    while ((there = atomic_load_explicit(&t->slot[i & t->mask], memory_order_relaxed)) && there != TOMBSTONE) i++;
    if (!there) used_slots++;
    atomic_store_explicit(&t->slot[i & t->mask], b, memory_order_release);
}

/* A table with at least twice as many slots as blocks, without the tombstones. False when no memory can be had. */
static bool grow(void) {
    struct table *old = atomic_load_explicit(&table, memory_order_relaxed);
    uint64_t slots = FIRST_SLOTS;
    while (slots < (block_count + 1) * 4) slots *= 2;
    struct table *fresh = sys_map(NULL, sizeof *fresh + slots * sizeof fresh->slot[0], PROT_READ | PROT_WRITE);
    if (!fresh) return false;
    fresh->mask = slots - 1;
    used_slots = 0;
    for (uint64_t i = 0; old && i <= old->mask; i++) {
        struct block *b = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
        if (b && b != TOMBSTONE) insert(fresh, b);
    }
    atomic_store_explicit(&table, fresh, memory_order_release);
    return true;
}

static bool refill_spare(void) {
    struct block *slab = sys_map(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE);
    if (!slab) return false;
    for (size_t i = 0; i < SLAB_BYTES / sizeof *slab; i++) LIST_INSERT_HEAD(&spare, &slab[i], fitting);
    return true;
}

struct block *block_new(struct context *context, uint64_t address, uint64_t size, uint64_t asked) {
    lock_take(&table_lock);
    struct table *t = atomic_load_explicit(&table, memory_order_relaxed);
    bool room = (t && (used_slots + 1) * 2 <= t->mask) || grow();
    struct block *b = NULL;
    if (room && (!LIST_EMPTY(&spare) || refill_spare())) {
        b = LIST_FIRST(&spare);
        LIST_REMOVE(b, fitting);
        *b = (struct block){ .address = address, .size = size, .asked = asked, .context = context, .state = BLOCK_LIVE, .bin = (uint16_t)shard_bin(size) };
        insert(atomic_load_explicit(&table, memory_order_relaxed), b);
        block_count++;
    }
    lock_release(&table_lock);
    return b;
}

void block_hide(struct block *b) {
    lock_take(&table_lock);
    struct table *t = atomic_load_explicit(&table, memory_order_relaxed);
    uint64_t i = slot_of(b->address);
    while (atomic_load_explicit(&t->slot[i & t->mask], memory_order_relaxed) != b) i++;
    atomic_store_explicit(&t->slot[i & t->mask], TOMBSTONE, memory_order_release);
    block_count--;
    lock_release(&table_lock);
}

void block_show(struct block *b) {
    lock_take(&table_lock);
    struct table *t = atomic_load_explicit(&table, memory_order_relaxed);
    if ((used_slots + 1) * 2 > t->mask && grow()) t = atomic_load_explicit(&table, memory_order_relaxed);
    insert(t, b); /* half of the slots are free even when it could not grow: it has just left one */
    block_count++;
    lock_release(&table_lock);
}

void block_recycle(struct block *b) {
    lock_take(&table_lock);
    atomic_store_explicit(&b->state, BLOCK_GONE, memory_order_relaxed);
    LIST_INSERT_HEAD(&spare, b, fitting);
    lock_release(&table_lock);
}

void block_each(void (*each)(struct block *block, void *with), void *with) {
    lock_take(&table_lock);
    struct table *t = atomic_load_explicit(&table, memory_order_relaxed);
    for (uint64_t i = 0; t && i <= t->mask; i++) {
        struct block *b = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
        if (b && b != TOMBSTONE) each(b, with);
    }
    lock_release(&table_lock);
}

void block_fork_child(void) { lock_reset(&table_lock); }
