/* extent.c: a list by address, an index into it, and bins by length; see extent.h. */
#include "device/extent.h"
#include "base/hints.h"
#include "base/sys.h"
#include <stddef.h>
#include <sys/mman.h>

enum { LOOK_AT = 32, SLAB_BYTES = 64 << 10 };

bool extents_open(struct extents *x, uint64_t end, uint64_t border) {
    *x = (struct extents){ .end = end, .border = border };
    x->part = sys_map(NULL, (end / EXTENT_PART + 1) * sizeof *x->part, PROT_READ | PROT_WRITE);
    x->begins = sys_map(NULL, (end / EXTENT_PART / 64 + 1) * sizeof *x->begins, PROT_READ | PROT_WRITE);
    return x->part && x->begins;
}

/* --- descriptors: `count` of them are made sure of before anything changes */
static bool have_spare(struct extents *x, unsigned count) {
    unsigned have = 0;
    for (struct extent *e = x->spare; e && have < count; e = e->next) have++;
    if (have == count) return true;
    struct extent *slab = sys_map(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE);
    for (size_t i = 0; slab && i < SLAB_BYTES / sizeof *slab; i++) slab[i].next = x->spare, x->spare = &slab[i];
    return slab != NULL;
}

static void retire(struct extents *x, struct extent *e) { e->next = x->spare, x->spare = e; }

/* --- bins: below 8 granules one for each length, then eight to a doubling */
static unsigned bin_of(uint64_t length) {
    if (length < 8) return (unsigned)length;
    unsigned e = 63 - (unsigned)__builtin_clzll(length), bin = (e - 2) * 8 + (unsigned)(length >> (e - 3) & 7);
    return bin < EXTENT_BINS ? bin : EXTENT_BINS - 1;
}

static enum area area_of(const struct extents *x, const struct extent *e) { return e->at >= x->border ? AREA_LARGE : AREA_SMALL; }

static void bin_put(struct extents *x, struct extent *e) {
    enum area area = area_of(x, e);
    unsigned bin = bin_of(e->length);
    struct extent **head = &x->bin[area][bin];
    e->state = EXTENT_FREE, e->previous = NULL, e->next = *head;
    if (*head) (*head)->previous = e;
    *head = e;
    x->filled[area][bin / 64] |= (uint64_t)1 << bin % 64;
    x->free += e->length;
}

static void bin_remove(struct extents *x, struct extent *e) {
    enum area area = area_of(x, e);
    unsigned bin = bin_of(e->length);
    if (e->previous) e->previous->next = e->next;
    else x->bin[area][bin] = e->next;
    if (e->next) e->next->previous = e->previous;
    if (!x->bin[area][bin]) x->filled[area][bin / 64] &= ~((uint64_t)1 << bin % 64);
    x->free -= e->length;
}

static unsigned next_filled(const struct extents *x, enum area area, unsigned bin) {
    for (unsigned word = bin / 64; bin < EXTENT_BINS; bin = ++word * 64) {
        uint64_t bits = x->filled[area][word] >> bin % 64;
        if (bits) return bin + (unsigned)__builtin_ctzll(bits);
    }
    return EXTENT_BINS;
}

/* --- the list by address and its index */
static void set_part(struct extents *x, uint64_t part, struct extent *e) {
    uint64_t bit = (uint64_t)1 << part % 64, *word = &x->begins[part / 64];
    x->part[part] = e;
    *word = e ? *word | bit : *word & ~bit;
}

static void enter(struct extents *x, struct extent *e, struct extent *left, struct extent *right) {
    uint64_t part = e->at / EXTENT_PART;
    e->left = left, e->right = right;
    if (left) left->right = e;
    if (right) right->left = e;
    if (!x->part[part] || x->part[part]->at > e->at) set_part(x, part, e);
}

static void leave(struct extents *x, struct extent *e) {
    uint64_t part = e->at / EXTENT_PART;
    if (x->part[part] == e) set_part(x, part, e->right && e->right->at / EXTENT_PART == part ? e->right : NULL);
    if (e->left) e->left->right = e->right;
    if (e->right) e->right->left = e->left;
}

/* The first extent that begins in the nearest part at or below `part` in which one does. */
static struct extent *part_below(const struct extents *x, uint64_t part) {
    uint64_t word = part / 64, bits = x->begins[word] & ~(uint64_t)0 >> (63 - part % 64);
    while (!bits && word > 0) bits = x->begins[--word];
    return bits ? x->part[word * 64 + 63 - (uint64_t)__builtin_clzll(bits)] : NULL;
}
static struct extent *first_of_all(const struct extents *x) {
    uint64_t word = 0, words = x->end / EXTENT_PART / 64 + 1;
    while (word < words && !x->begins[word]) word++;
    return word < words ? x->part[word * 64 + (uint64_t)__builtin_ctzll(x->begins[word])] : NULL;
}

/* The last extent that begins at or before the position. */
static struct extent *before(const struct extents *x, uint64_t at) {
    uint64_t part = at / EXTENT_PART;
    struct extent *e = part_below(x, part);
    if (e && e->at > at) e = part > 0 ? part_below(x, part - 1) : NULL;
    while (e && e->right && e->right->at <= at) e = e->right;
    return e;
}

struct extent *extents_at(const struct extents *x, uint64_t at) {
    struct extent *e = at < x->end ? before(x, at) : NULL;
    return e && at - e->at < e->length ? e : NULL;
}

/* --- changes; descriptors are there */
static bool touches(const struct extents *x, const struct extent *left, const struct extent *right) {
    return left && right && left->at + left->length == right->at && left->state == EXTENT_FREE && right->state == EXTENT_FREE && area_of(x, left) == area_of(x, right);
}

/* `e` is in the list and in no bin. */
static void become_free(struct extents *x, struct extent *e) {
    struct extent *left = e->left, *right = e->right;
    e->state = EXTENT_FREE;
    if (touches(x, e, right)) {
        bin_remove(x, right), leave(x, right);
        e->length += right->length;
        retire(x, right);
    }
    if (touches(x, left, e)) {
        bin_remove(x, left), leave(x, e);
        left->length += e->length;
        retire(x, e), e = left;
    }
    bin_put(x, e);
}

/* What is beyond `length` becomes an extent of its own, of the same state; neither is in a bin. */
static struct extent *split(struct extents *x, struct extent *e, uint64_t length) {
    struct extent *rest = x->spare;
    x->spare = rest->next;
    *rest = (struct extent){ .at = e->at + length, .length = e->length - length, .state = e->state };
    e->length = length;
    enter(x, rest, e, e->right);
    return rest;
}

bool extents_add(struct extents *x, uint64_t at, uint64_t length) {
    if (!have_spare(x, 1)) return false;
    struct extent *e = x->spare, *left = before(x, at);
    x->spare = e->next;
    *e = (struct extent){ .at = at, .length = length };
    struct extent *right = left ? left->right : first_of_all(x);
    invariant((!left || left->at + left->length <= at) && (!right || at + length <= right->at));
    enter(x, e, left, right);
    become_free(x, e);
    return true;
}

/* Cuts the part of one extent that lies in the range out of it. */
static void cut(struct extents *x, struct extent *e, uint64_t from, uint64_t to) {
    bool binned = e->state == EXTENT_FREE;
    if (binned) bin_remove(x, e);
    if (e->at + e->length > to) {
        struct extent *rest = split(x, e, to - e->at);
        if (binned) bin_put(x, rest);
    }
    if (!binned) x->lost -= e->length - (from > e->at ? from - e->at : 0);
    if (e->at < from) {
        e->length = from - e->at;
        if (binned) bin_put(x, e);
        return;
    }
    leave(x, e);
    retire(x, e);
}

bool extents_remove(struct extents *x, uint64_t at, uint64_t length) {
    if (!extents_are_idle(x, at, length) || !have_spare(x, 2)) return false;
    for (struct extent *e = extents_at(x, at), *right; e && e->at < at + length; e = right) right = e->right, cut(x, e, at, at + length);
    return true;
}

void extents_clear(struct extents *x) {
    for (struct extent *e; (e = first_of_all(x));) leave(x, e), retire(x, e);
    for (unsigned area = 0; area < AREAS; area++) {
        for (unsigned bin = 0; bin < EXTENT_BINS; bin++) x->bin[area][bin] = NULL;
        for (unsigned word = 0; word < EXTENT_BINS / 64; word++) x->filled[area][word] = 0;
    }
    x->free = x->lost = 0;
}

/* --- requests */
static struct extent *best_of(struct extent *head, uint64_t length) {
    struct extent *best = NULL;
    int looked = 0;
    for (struct extent *e = head; e && looked < LOOK_AT; e = e->next, looked++)
        if (e->length >= length && (!best || e->length < best->length || (e->length == best->length && e->at < best->at))) best = e;
    return best;
}

static struct extent *best(const struct extents *x, enum area area, uint64_t length) {
    struct extent *found = NULL;
    for (unsigned bin = bin_of(length); !found && (bin = next_filled(x, area, bin)) < EXTENT_BINS; bin++) found = best_of(x->bin[area][bin], length);
    return found;
}

bool extents_fit(const struct extents *x, enum area area, uint64_t length) { return best(x, area, length) != NULL; }

/* --- where in its free extent a block lies: at one of its two ends, or where it begins or ends with a whole page */
struct place { uint64_t at, breaks, touches; }; /* granules of whole free pages, of all pages */

static struct stretch page_around(const struct extents *x, uint64_t at) {
    if (x->page_around) return x->page_around(x, at);
    return (struct stretch){ at / PAGE_GRANULES * PAGE_GRANULES, (at / PAGE_GRANULES + 1) * PAGE_GRANULES };
}

/* What is left of a range without the pages at its ends that reach beyond `within`; empty: `to` is not above `from`. */
static struct stretch whole_pages(const struct extents *x, struct stretch range, struct stretch within) {
    struct stretch first = page_around(x, range.from), last = page_around(x, range.to - 1);
    return (struct stretch){ first.from >= within.from ? first.from : first.to, last.to <= within.to ? last.to : last.from };
}

static struct place place_at(const struct extents *x, struct stretch in, uint64_t at, uint64_t length) {
    struct stretch broken = whole_pages(x, (struct stretch){ at, at + length }, in);
    uint64_t touches = page_around(x, at + length - 1).to - page_around(x, at).from;
    return (struct place){ .at = at, .breaks = broken.to > broken.from ? broken.to - broken.from : 0, .touches = touches };
}

static bool is_better(struct place a, struct place b) { return a.breaks != b.breaks ? a.breaks < b.breaks : a.touches < b.touches; }

/* Of equals the first that is listed. */
static uint64_t best_place(const struct extents *x, const struct extent *e, uint64_t length) {
    const struct stretch in = { e->at, e->at + e->length }, whole = whole_pages(x, in, in);
    const uint64_t last = in.to - length, others[] = { whole.from, last, whole.to - length };
    struct place best = place_at(x, in, in.from, length);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
        if (others[i] < in.from || others[i] > last) continue; /* a difference below 0 is above `last` */
        struct place other = place_at(x, in, others[i], length);
        if (is_better(other, best)) best = other;
    }
    return best.at;
}

struct extent *extents_take(struct extents *x, enum area area, uint64_t length) {
    struct extent *e = best(x, area, length);
    if (!e) return NULL;
    bool cut = have_spare(x, 2);
    uint64_t at = cut ? best_place(x, e, length) : e->at;
    bin_remove(x, e);
    if (at > e->at) {
        struct extent *before_it = e;
        e = split(x, before_it, at - before_it->at);
        bin_put(x, before_it);
    }
    e->state = EXTENT_TAKEN;
    if (e->length > length && cut) become_free(x, split(x, e, length));
    return e;
}

void extents_give(struct extents *x, struct extent *e) { become_free(x, e); }
void extents_lose(struct extents *x, struct extent *e) { e->state = EXTENT_LOST, x->lost += e->length; }

/* --- looking */
bool extents_are_idle(const struct extents *x, uint64_t at, uint64_t length) {
    for (struct extent *e = extents_at(x, at); e && e->at < at + length; e = e->right)
        if (e->state == EXTENT_TAKEN) return false;
    return true;
}

bool extents_any_lost(const struct extents *x, uint64_t at, uint64_t length) {
    for (struct extent *e = x->lost ? extents_at(x, at) : NULL; e && e->at < at + length; e = e->right)
        if (e->state == EXTENT_LOST) return true;
    return false;
}

uint64_t extents_stranded(const struct extents *x, bool (*in_use)(const struct extent *e, void *with), void *with) {
    uint64_t pages = 0, used = 0, seen = 0; /* of all pages before `seen` */
    for (const struct extent *e = first_of_all(x); e; e = e->right) {
        if (e->state == EXTENT_FREE || (e->state == EXTENT_TAKEN && !in_use(e, with))) continue;
        uint64_t from = page_around(x, e->at).from, to = page_around(x, e->at + e->length - 1).to;
        pages += to - (from > seen ? from : seen), seen = to;
        if (e->state == EXTENT_TAKEN) used += e->length;
    }
    return pages - used;
}

bool extents_find(const struct extents *x, enum area area, uint64_t least, bool (*each)(const struct extent *e, void *with), void *with) {
    for (unsigned bin = EXTENT_BINS, first = bin_of(least); bin-- > first;)
        for (struct extent *e = x->bin[area][bin], *next; e; e = next) {
            next = e->next;
            if (e->length >= least && each(e, with)) return true;
        }
    return false;
}

bool extents_are_valid(const struct extents *x) {
    uint64_t counted[3] = { 0 }, binned = 0, end = 0;
    const struct extent *e = first_of_all(x);
    for (const struct extent *left = NULL; e; left = e, e = e->right) {
        if (e->left != left || e->length == 0 || e->at < end || touches(x, left, e) || extents_at(x, e->at) != e) return false;
        counted[e->state] += e->length, end = e->at + e->length;
    }
    for (unsigned area = 0; area < AREAS; area++)
        for (unsigned bin = 0; bin < EXTENT_BINS; bin++) {
            if (!x->bin[area][bin] != !(x->filled[area][bin / 64] >> bin % 64 & 1)) return false;
            for (e = x->bin[area][bin]; e; e = e->next)
                if (e->state != EXTENT_FREE || bin_of(e->length) != bin || area_of(x, e) != area) return false;
                else binned += e->length;
        }
    return binned == counted[EXTENT_FREE] && binned == x->free && counted[EXTENT_LOST] == x->lost;
}
