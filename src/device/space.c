/* space.c: runs of slots in a bit set; see space.h. */
#include "device/space.h"
#include "base/hints.h"
#include "base/sys.h"
#include <stddef.h>
#include <sys/mman.h>

bool space_open(struct space *s, uint64_t base, uint64_t bytes) {
    uint32_t slots = (uint32_t)(bytes / PAGE_BYTES);
    *s = (struct space){ .base = base, .slots = slots };
    s->taken = sys_map(NULL, (slots / 64 + 1) * sizeof *s->taken, PROT_READ | PROT_WRITE);
    s->page = sys_map(NULL, slots * sizeof *s->page, PROT_READ | PROT_WRITE);
    s->owner = sys_map(NULL, slots * sizeof *s->owner, PROT_READ | PROT_WRITE);
    return s->taken && s->page && s->owner;
}

/* Slots from `at` on that have the same state, at most `most`. */
static uint32_t same_from(const struct space *s, uint32_t at, uint32_t most) {
    uint64_t state = space_is_taken(s, at) ? ~(uint64_t)0 : 0;
    uint32_t n = 0;
    while (n < most) {
        uint32_t bit = (at + n) % 64;
        uint64_t differ = (s->taken[(at + n) / 64] ^ state) >> bit;
        uint32_t run = differ ? (uint32_t)__builtin_ctzll(differ) : 64 - bit;
        n += run;
        if (differ) break;
    }
    return n < most ? n : most;
}

static uint32_t find(const struct space *s, uint32_t from, uint32_t to, uint32_t count) {
    while (from + count <= to) {
        uint32_t run = same_from(s, from, to - from);
        if (!space_is_taken(s, from) && run >= count) return from;
        from += run;
    }
    return UINT32_MAX;
}

static void mark(struct space *s, uint32_t first, uint32_t count, bool taken) {
    for (uint32_t i = first; i < first + count; i++) {
        uint64_t bit = (uint64_t)1 << i % 64;
        invariant(((s->taken[i / 64] & bit) != 0) != taken);
        s->taken[i / 64] = taken ? s->taken[i / 64] | bit : s->taken[i / 64] & ~bit;
    }
}

uint32_t space_take_in(struct space *s, uint32_t from, uint32_t to, uint32_t *rover, uint32_t count) {
    uint32_t first = find(s, *rover, to, count);
    if (first == UINT32_MAX) first = find(s, from, to, count);
    if (first == UINT32_MAX) return first;
    mark(s, first, count, true);
    *rover = first + count < to ? first + count : from;
    return first;
}

uint32_t space_take(struct space *s, uint32_t count) { return space_take_in(s, 0, s->slots, &s->rover, count); }

bool space_is_empty(const struct space *s, uint32_t first, uint32_t count) {
    return first + count <= s->slots && !space_is_taken(s, first) && same_from(s, first, count) == count;
}

void space_give(struct space *s, uint32_t first, uint32_t count) { mark(s, first, count, false); }

void space_clear(struct space *s) {
    for (uint32_t i = 0; i <= s->slots / 64; i++) s->taken[i] = 0;
    s->rover = 0;
}
