/* gap.c: extents with boundary tags, gaps in bins; see gap.h. */
#include "device/gap.h"
#include "base/hints.h"
#include "base/sys.h"
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define GAP_FREE 0x8000u
enum { LOOK_AT = 32 }; /* gaps of a bin that are compared for the best fit */

/* Bins: every length up to 31 granules, then sixteen bins to a doubling. */
static inline unsigned class_of(uint32_t length) {
    if (length < 32) return length;
    unsigned e = 31 - (unsigned)__builtin_clz(length);
    return (e - 3) * 16 + (length >> (e - 4) & 15);
}
static inline uint32_t ref_of(const struct share *s, uint32_t at) { return s->number * GRANULES + at + 1; }
static inline struct share *share_of(const struct gaps *g, uint32_t ref) { return g->share[(ref - 1) / GRANULES]; }
static inline uint32_t at_of(uint32_t ref) { return (ref - 1) % GRANULES; }
static inline uint32_t length_of(const struct gaps *g, uint32_t ref) { return share_of(g, ref)->tag[at_of(ref)] & ~GAP_FREE; }
static inline enum gap_edge edge_of(uint32_t at, uint32_t length) {
    return at == 0 ? GAP_FRONT : at + length == GRANULES ? GAP_BACK : GAP_MIDDLE;
}
static inline struct extent extent_of(const struct gaps *g, uint32_t ref) {
    return ref ? (struct extent){ share_of(g, ref), at_of(ref), length_of(g, ref) } : (struct extent){ 0 };
}

bool gaps_open(struct gaps *g, uint32_t most) {
    *g = (struct gaps){ .room = most };
    g->share = sys_map(NULL, most * sizeof *g->share, PROT_READ | PROT_WRITE);
    return g->share != NULL;
}

static void set_tags(struct share *s, uint32_t at, uint32_t length, uint32_t flag) {
    s->tag[at] = s->tag[at + length - 1] = (uint16_t)(length | flag);
}

static void link_gap(struct gaps *g, struct share *s, uint32_t at, uint32_t length) {
    if (length == 0) return;
    set_tags(s, at, length, GAP_FREE);
    enum gap_edge edge = edge_of(at, length);
    unsigned class = class_of(length);
    uint32_t *head = &g->bin[edge][class];
    s->previous[at] = 0, s->next[at] = *head;
    if (*head) share_of(g, *head)->previous[at_of(*head)] = ref_of(s, at);
    *head = ref_of(s, at);
    g->filled[edge][class / 64] |= (uint64_t)1 << class % 64;
    g->free += length;
}

static void unlink_gap(struct gaps *g, struct share *s, uint32_t at, uint32_t length) {
    enum gap_edge edge = edge_of(at, length);
    unsigned class = class_of(length);
    uint32_t before = s->previous[at], after = s->next[at];
    if (before) share_of(g, before)->next[at_of(before)] = after;
    else g->bin[edge][class] = after;
    if (after) share_of(g, after)->previous[at_of(after)] = before;
    if (!g->bin[edge][class]) g->filled[edge][class / 64] &= ~((uint64_t)1 << class % 64);
    g->free -= length;
}

struct share *gaps_add(struct gaps *g, void *page) {
    struct share *s = g->spare;
    if (s) {
        g->spare = s->page;
    } else {
        if (g->count == g->room || !(s = sys_map(NULL, sizeof *s, PROT_READ | PROT_WRITE))) return NULL;
        s->number = g->count;
        g->share[g->count++] = s;
    }
    s->page = page, s->used = s->lost = 0;
    link_gap(g, s, 0, GRANULES);
    return s;
}

/* Lost extents go with it: the owner gives such a page away. */
void gaps_remove(struct gaps *g, struct share *s) {
    for (uint32_t at = 0; at < GRANULES; at += s->tag[at] & ~GAP_FREE)
        if (s->tag[at] & GAP_FREE) unlink_gap(g, s, at, s->tag[at] & ~GAP_FREE);
    s->page = g->spare, s->used = GRANULES, s->lost = 0;
    g->spare = s;
}

void gaps_clear(struct gaps *g) {
    memset(g->bin, 0, sizeof g->bin), memset(g->filled, 0, sizeof g->filled);
    g->free = 0, g->spare = NULL;
    for (uint32_t i = 0; i < g->count; i++) g->share[i]->page = g->spare, g->share[i]->used = GRANULES, g->share[i]->lost = 0, g->spare = g->share[i];
}

/* The smallest of the first gaps of one bin that hold `length`. */
static uint32_t best_of(const struct gaps *g, uint32_t ref, uint32_t length) {
    uint32_t best = 0, best_length = UINT32_MAX;
    for (int looked = 0; ref && looked < LOOK_AT; ref = share_of(g, ref)->next[at_of(ref)], looked++) {
        uint32_t has = length_of(g, ref);
        if (has == length) return ref;
        if (has > length && has < best_length) best = ref, best_length = has;
    }
    return best;
}

/* The first bin from `class` on that is not empty; GAP_CLASSES: none. */
static unsigned filled_from(const struct gaps *g, enum gap_edge edge, unsigned class) {
    for (unsigned word = class / 64; word < 3; word++) {
        uint64_t bits = g->filled[edge][word] & (word == class / 64 ? ~(uint64_t)0 << class % 64 : ~(uint64_t)0);
        if (bits) return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return GAP_CLASSES;
}

struct extent gaps_find(struct gaps *g, enum gap_edge edge, uint32_t length) {
    unsigned class = class_of(length);
    uint32_t found = best_of(g, g->bin[edge][class], length);
    if (!found) {
        class = filled_from(g, edge, class + 1);
        if (class < GAP_CLASSES) found = best_of(g, g->bin[edge][class], length);
    }
    /* a whole page is a back gap too */
    if (!found && edge == GAP_BACK) found = g->bin[GAP_FRONT][class_of(GRANULES)];
    return extent_of(g, found);
}

struct extent gaps_find_anywhere(struct gaps *g, uint32_t length) {
    struct extent best = { 0 };
    for (unsigned edge = 0; edge < GAP_EDGES; edge++) {
        struct extent e = gaps_find(g, edge, length);
        if (e.share && (!best.share || e.length < best.length)) best = e;
    }
    return best;
}

struct extent gaps_largest(struct gaps *g, enum gap_edge edge) {
    for (int word = 2; word >= 0; word--) {
        uint64_t bits = g->filled[edge][word];
        if (!bits) continue;
        uint32_t ref = g->bin[edge][word * 64 + 63 - __builtin_clzll(bits)], best = ref;
        for (int looked = 0; ref && looked < LOOK_AT; ref = share_of(g, ref)->next[at_of(ref)], looked++)
            if (length_of(g, ref) > length_of(g, best)) best = ref;
        return extent_of(g, best);
    }
    return (struct extent){ 0 };
}

void gaps_each(struct gaps *g, enum gap_edge edge, bool (*each)(struct extent gap, void *with), void *with) {
    int looked = 0;
    for (int word = 2; word >= 0; word--)
        for (uint64_t bits = g->filled[edge][word]; bits;) {
            unsigned bit = 63 - (unsigned)__builtin_clzll(bits);
            bits &= ~((uint64_t)1 << bit);
            for (uint32_t ref = g->bin[edge][(unsigned)word * 64 + bit]; ref; ref = share_of(g, ref)->next[at_of(ref)])
                if (looked++ == LOOK_AT || !each(extent_of(g, ref), with)) return;
        }
}

struct extent gaps_take(struct gaps *g, struct extent gap, uint32_t length, enum gap_edge wanted) {
    bool high = wanted == GAP_BACK || (wanted == GAP_MIDDLE && gap.at == 0);
    uint32_t at = high ? gap.at + gap.length - length : gap.at;
    invariant(length > 0 && length <= gap.length && gap.share->tag[gap.at] == (gap.length | GAP_FREE));
    unlink_gap(g, gap.share, gap.at, gap.length);
    link_gap(g, gap.share, gap.at, at - gap.at);
    link_gap(g, gap.share, at + length, gap.at + gap.length - at - length);
    set_tags(gap.share, at, length, 0);
    gap.share->used += length;
    return (struct extent){ gap.share, at, length };
}

void gaps_give(struct gaps *g, struct extent e) {
    struct share *s = e.share;
    uint32_t at = e.at, length = e.length;
    invariant(s->tag[at] == length && s->used >= length);
    s->used -= length;
    if (at > 0 && s->tag[at - 1] & GAP_FREE) {
        uint32_t left = s->tag[at - 1] & ~GAP_FREE;
        at -= left, length += left;
        unlink_gap(g, s, at, left);
    }
    if (at + length < GRANULES && s->tag[at + length] & GAP_FREE) {
        uint32_t right = s->tag[at + length] & ~GAP_FREE;
        unlink_gap(g, s, at + length, right);
        length += right;
    }
    link_gap(g, s, at, length);
}

struct extent gaps_extent_at(struct share *s, uint32_t granule) {
    uint32_t at = 0;
    while (at + (s->tag[at] & ~GAP_FREE) <= granule) at += s->tag[at] & ~GAP_FREE;
    return s->tag[at] & GAP_FREE ? (struct extent){ 0 } : (struct extent){ s, at, s->tag[at] };
}

static bool share_is_valid(const struct share *s, uint64_t *free) {
    uint32_t used = 0;
    bool gap_before = false;
    for (uint32_t at = 0; at < GRANULES;) {
        uint32_t length = s->tag[at] & ~GAP_FREE;
        bool gap = s->tag[at] & GAP_FREE;
        if (length == 0 || at + length > GRANULES || s->tag[at + length - 1] != s->tag[at] || (gap && gap_before)) return false;
        if (gap) *free += length;
        else used += length;
        gap_before = gap, at += length;
    }
    return used == s->used && s->lost <= s->used;
}

bool gaps_are_valid(const struct gaps *g) {
    uint64_t free = 0;
    unsigned spares = 0;
    for (const struct share *s = g->spare; s; s = s->page) spares++;
    for (uint32_t i = 0; i < g->count; i++) {
        const struct share *s = g->share[i];
        bool spare = false;
        for (const struct share *x = g->spare; x && !spare; x = x->page) spare = x == s;
        if (!spare && !share_is_valid(s, &free)) return false;
    }
    return free == g->free && spares <= g->count;
}
