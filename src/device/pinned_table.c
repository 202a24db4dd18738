/* pinned_table.c: chains of pins by address, bins of cached ones by size, a list by age; see pinned_table.h. */
#include "device/pinned_table.h"
#include "base/lock.h"
#include "base/sys.h"
#include "device/fence.h"
#include <sys/mman.h>

enum { PLACES = 4096, PIN_BINS = 128, SLAB = 64 << 10, LOOK = 256 };

static struct lock table_lock = LOCK_INIT(RANK_BLOCKS);
static struct pin *place[PLACES], *bin[PIN_BINS], *oldest, *newest, *spare;

static struct pin **place_of(uint64_t address) { return &place[(address >> 12) * 0x9e3779b97f4a7c15ull >> 52]; }
/* Half doublings of pages: what fits lies in the bin of the request or in the next. */
static unsigned size_class(uint64_t size) {
    uint64_t pages = (size + 4095) >> 12;
    unsigned e = 63 - (unsigned)__builtin_clzll(pages | 1);
    return 2 * e + (e > 0 && pages >> (e - 1) & 1);
}
static struct pin **bin_of(uint64_t size) { return &bin[size_class(size)]; }
/* Less than a page may be left over, or an eighth. */
static bool fits(uint64_t size, uint64_t asked) { return size >= asked && (size - asked < 4096 || size - asked <= size / 8); }
static bool serves(const struct pin *p, const struct pinned_wish *w) {
    return p->context == w->context && p->kind == w->kind && fits(p->size, w->size);
}

/* --- under the lock */

static void table_link(struct pin *p) {
    struct pin **at = place_of(p->address);
    p->chain = *at, *at = p;
}

static void table_unlink(struct pin *p) {
    struct pin **at = place_of(p->address);
    while (*at != p) at = &(*at)->chain;
    *at = p->chain;
}

static void cache_link(struct pin *p) {
    struct pin **head = bin_of(p->size);
    p->previous = NULL, p->next = *head;
    if (*head) (*head)->previous = p;
    *head = p;
    p->older = newest, p->newer = NULL;
    if (newest) newest->newer = p;
    else oldest = p;
    newest = p;
}

static void cache_unlink(struct pin *p) {
    if (p->previous) p->previous->next = p->next;
    else *bin_of(p->size) = p->next;
    if (p->next) p->next->previous = p->previous;
    if (p->older) p->older->newer = p->newer;
    else oldest = p->newer;
    if (p->newer) p->newer->older = p->older;
    else newest = p->older;
}

static void recycle(struct pin *p) { p->state = PIN_GONE, p->chain = spare, spare = p; }

static struct pin *new_pin(void) {
    if (!spare) {
        struct pin *slab = sys_map(NULL, SLAB, PROT_READ | PROT_WRITE);
        for (size_t i = 0; slab && i < SLAB / sizeof *slab; i++) recycle(&slab[i]);
    }
    struct pin *p = spare;
    if (p) spare = p->chain;
    return p;
}

static struct pin *starting_at(uint64_t address) {
    struct pin *p = *place_of(address);
    while (p && p->address != address) p = p->chain;
    return p;
}

/* An interior pointer is asked about rarely: all are looked at. */
static struct pin *around(uint64_t address) {
    struct pin *p = starting_at(address);
    for (unsigned i = 0; i < PLACES && !p; i++)
        for (p = place[i]; p && address - p->address >= p->size;) p = p->chain;
    return p;
}

/* The best ready one of a bin so far; remembers what would fit later. */
static void look(struct pinned_wish *w, unsigned class, struct pin **best) {
    unsigned looked = 0;
    for (struct pin *p = bin[class]; p && looked < LOOK; p = p->next, looked++) {
        if (!serves(p, w) || (*best && p->size >= (*best)->size)) continue;
        if (fence_has_passed(p->epoch)) *best = p;
        else if (!w->pending || p->epoch < w->pending) w->pending = p->epoch;
    }
}

/* --- what the others call */

bool pinned_table_add(struct context *c, uint64_t address, uint64_t size, unsigned kind) {
    lock_take(&table_lock);
    struct pin *p = new_pin();
    if (p) {
        *p = (struct pin){ .address = address, .size = size, .asked = size, .context = c, .kind = kind, .state = PIN_LIVE };
        table_link(p);
    }
    lock_release(&table_lock);
    return p != NULL;
}

struct pin *pinned_table_take(struct pinned_wish *w) {
    struct pin *best = NULL;
    unsigned class = size_class(w->size);
    lock_take(&table_lock);
    w->pending = 0;
    look(w, class, &best);
    if (!best) look(w, class + 1, &best);
    if (best) {
        invariant(best->state == PIN_CACHED && !best->tainted);
        cache_unlink(best);
        best->state = PIN_LIVE, best->asked = w->size;
    }
    lock_release(&table_lock);
    return best;
}

struct pin *pinned_table_claim(uint64_t address) {
    lock_take(&table_lock);
    struct pin *p = starting_at(address);
    if (p && p->state == PIN_LIVE) table_unlink(p), p->state = PIN_BUSY;
    else p = NULL;
    lock_release(&table_lock);
    return p;
}

struct pin *pinned_table_oldest(bool only_ready) {
    lock_take(&table_lock);
    struct pin *p = oldest;
    while (p && only_ready && !fence_has_passed(p->epoch)) p = p->newer;
    if (p) cache_unlink(p), table_unlink(p), p->state = PIN_BUSY;
    lock_release(&table_lock);
    return p;
}

bool pinned_table_keep(struct pin *p, uint64_t epoch) {
    lock_take(&table_lock);
    bool open = !(atomic_load(&p->context->gate) & GATE_CLOSED); /* closed before pinned_table_drop: either sees the other */
    if (open) {
        p->state = PIN_CACHED, p->epoch = epoch;
        table_link(p), cache_link(p);
    }
    lock_release(&table_lock);
    return open;
}

void pinned_table_revive(struct pin *p) {
    lock_take(&table_lock);
    p->state = PIN_LIVE;
    table_link(p);
    lock_release(&table_lock);
}

void pinned_table_recycle(struct pin *p) {
    lock_take(&table_lock);
    recycle(p);
    lock_release(&table_lock);
}

struct pin *pinned_table_drop(struct context *c) {
    struct pin *found = NULL;
    lock_take(&table_lock);
    for (unsigned i = 0; i < PLACES && !found; i++)
        for (found = place[i]; found && found->context != c;) found = found->chain;
    if (found) table_unlink(found);
    if (found && found->state == PIN_CACHED) cache_unlink(found);
    lock_release(&table_lock);
    return found;
}

bool pinned_find(uint64_t address, struct pinned_facts *facts) {
    lock_take(&table_lock);
    struct pin *p = around(address);
    if (p) *facts = (struct pinned_facts){ p->address, p->asked, p->state == PIN_CACHED };
    lock_release(&table_lock);
    return p != NULL;
}

bool pinned_taint(uint64_t address) {
    lock_take(&table_lock);
    struct pin *p = around(address);
    if (p) p->tainted = true;
    lock_release(&table_lock);
    return p != NULL;
}

void pinned_table_fork_child(void) { lock_reset(&table_lock); }
