/* picture.c: sums and runs; see picture.h. A word at position 8·w counts word * column(w % 64) * row(w / 64), modulo 2^64: one
 * multiplication a word, from a table of 512 bytes. */
#include "device/picture.h"
#include <stdatomic.h>
#include <string.h>

enum { COLUMNS = 64, ROW = PICTURE_ROW, STRIDE = ROW * PICTURE_EVERY, GIVEN_UP = PICTURE_RUNS + 1 };

/* splitmix64, odd */
static uint64_t random_odd(uint64_t n) {
    uint64_t z = (n + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) | 1;
}

static const uint64_t *columns(void) {
    static uint64_t table[COLUMNS];
    static _Atomic bool made;
    if (!atomic_load_explicit(&made, memory_order_acquire)) {
        for (unsigned i = 0; i < COLUMNS; i++) table[i] = random_odd(i); /* racing threads write the same */
        atomic_store_explicit(&made, true, memory_order_release);
    }
    return table;
}

/* Bytes [in, in + length) of one row. */
static uint64_t row_sum(const uint64_t *column, uint32_t in, const unsigned char *bytes, uint32_t length) {
    uint64_t sum = 0, word;
    for (; length > 0 && in % 8; in++, bytes++, length--) sum += ((uint64_t)*bytes << in % 8 * 8) * column[in / 8];
    for (; length >= 8; in += 8, bytes += 8, length -= 8) memcpy(&word, bytes, 8), sum += word * column[in / 8];
    for (; length > 0; in++, bytes++, length--) sum += ((uint64_t)*bytes << in % 8 * 8) * column[in / 8];
    return sum;
}

uint64_t picture_sum(uint32_t at, const void *bytes, uint32_t length) {
    const uint64_t *column = columns();
    const unsigned char *from = bytes;
    uint64_t sum = 0;
    for (uint32_t part; length > 0; at += part, from += part, length -= part) {
        uint32_t in = at % STRIDE, end = in < ROW ? ROW : STRIDE;
        part = end - in < length ? end - in : length;
        if (in < ROW) sum += row_sum(column, in, from, part) * random_odd(COLUMNS + at / ROW);
    }
    return sum;
}

static bool meets(const struct picture *p, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; i < p->runs; i++)
        if (from < p->run[i].to && p->run[i].from < to) return true;
    return false;
}

/* Runs i and i + 1 have at most padding between them: they are one. */
static void join(struct picture *p, uint32_t i) {
    if (i + 1 >= p->runs || p->run[i + 1].from - p->run[i].to > PICTURE_PADDING) return;
    p->run[i].to = p->run[i + 1].to;
    memmove(&p->run[i + 1], &p->run[i + 2], (p->runs - i - 2) * sizeof p->run[0]);
    p->runs--;
}

void picture_add(struct picture *p, uint32_t at, uint32_t length, uint64_t sum) {
    uint32_t to = at + length, i = 0;
    if (length == 0) return;
    if (p->runs == GIVEN_UP ? at == 0 : meets(p, at, to)) *p = (struct picture){ 0 };
    if (p->runs == GIVEN_UP) return;
    p->sum += sum;
    while (i < p->runs && p->run[i].from < at) i++;
    if (i > 0 && at - p->run[i - 1].to <= PICTURE_PADDING) p->run[--i].to = to;
    else if (i < p->runs && p->run[i].from - to <= PICTURE_PADDING) p->run[i].from = at;
    else if (p->runs == PICTURE_RUNS) {
        p->runs = GIVEN_UP;
        return;
    } else {
        memmove(&p->run[i + 1], &p->run[i], (p->runs - i) * sizeof p->run[0]);
        p->run[i].from = at, p->run[i].to = to, p->runs++;
    }
    join(p, i);
}

void picture_spoil(struct picture *p, uint32_t at, uint32_t length) {
    if (p->runs == GIVEN_UP || meets(p, at, at + length)) *p = (struct picture){ 0 };
}

bool picture_is_complete(const struct picture *p, uint32_t bytes) {
    uint32_t at = 0, i = 0;
    for (; p->runs != GIVEN_UP && i < p->runs && p->run[i].from <= at + PICTURE_GAP; i++) at = p->run[i].to;
    return i > 0 && i == p->runs && at + PICTURE_GAP >= bytes;
}
