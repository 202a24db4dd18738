/* params_codec.c: a set of sampling parameters as bytes, and back; docs/INTERN.md has the format.
 *
 * One set, one encoding: the writer has no choice anywhere, and the reader accepts nothing that the writer would not write
 * (fields and ids rise, numbers take their shortest form, no default is spelled out, nothing follows the end). The reader
 * may be given any bytes: every length is checked against what is left before it is used. */
#include "intern/params.h"
#include <errno.h>
#include <string.h>

/* --- writing: counts on when the buffer is full, so that the length is known either way */

struct writer {
    unsigned char *bytes;
    size_t length, capacity;
};

static void put_byte(struct writer *w, unsigned char byte) {
    if (w->length < w->capacity) w->bytes[w->length] = byte;
    w->length++;
}

static void put_bytes(struct writer *w, const void *bytes, size_t length) {
    if (length && w->length <= w->capacity && length <= w->capacity - w->length) memcpy(w->bytes + w->length, bytes, length);
    w->length += length;
}

static void put_number(struct writer *w, uint64_t n) {
    for (; n >= 0x80; n >>= 7) put_byte(w, (unsigned char)(n | 0x80));
    put_byte(w, (unsigned char)n);
}

/* Small numbers of either sign become small ones: 0 -1 1 -2 2 are 0 1 2 3 4. */
static uint64_t fold(int64_t n) { return (uint64_t)n << 1 ^ (n < 0 ? UINT64_MAX : 0); }
static int64_t unfold(uint64_t n) { return (int64_t)(n >> 1 ^ (n & 1 ? UINT64_MAX : 0)); }

/* Is this real so many thousandths, to the bit? Then that is its form. */
static bool thousandths(double real, int64_t *n) {
    if (!(real > -1e6 && real < 1e6)) return false;
    *n = (int64_t)(real * 1000 + (real < 0 ? -0.5 : 0.5));
    return (double)*n / 1000 == real;
}

static void put_real(struct writer *w, double real) {
    int64_t n;
    uint64_t bits;
    if (thousandths(real, &n)) {
        put_number(w, fold(n) << 1);
        return;
    }
    put_byte(w, 1);
    memcpy(&bits, &real, sizeof bits);
    for (int i = 0; i < 8; i++) put_byte(w, (unsigned char)(bits >> 8 * i));
}

static void put_text(struct writer *w, const char *bytes, size_t length) {
    put_number(w, length);
    put_bytes(w, bytes, length);
}

/* An item of a list that is sorted by id says how far it is from the one before it. */
static void put_item(struct writer *w, enum coppice_param_kind kind, const struct params_item *item, int64_t before) {
    switch (kind) {
    case COPPICE_FLAG: break; /* there are two values, and it is not the default */
    case COPPICE_REAL: put_real(w, item->real); break;
    case COPPICE_INT: put_number(w, fold(item->id)); break;
    case COPPICE_IDS: put_number(w, (uint64_t)(item->id - before)); break;
    case COPPICE_BIAS: put_number(w, (uint64_t)(item->id - before)), put_real(w, item->real); break;
    case COPPICE_PAIRS: put_text(w, item->name, item->name_length), put_text(w, item->bytes, item->length); break;
    case COPPICE_STRINGS: put_text(w, item->bytes, item->length); break;
    }
}

static bool is_single(enum coppice_param_kind kind) { return kind == COPPICE_REAL || kind == COPPICE_INT || kind == COPPICE_FLAG; }

size_t coppice_params_encode(const coppice_params *p, void *buffer, size_t capacity) {
    struct writer w = { .bytes = buffer, .capacity = capacity };
    put_byte(&w, COPPICE_PARAMS_VERSION);
    for (int field = 1; field < COPPICE_PARAM_END; field++) {
        const struct params_list *list = &p->field[field];
        if (list->count == 0) continue;
        enum coppice_param_kind kind = params_rows[field].kind;
        put_number(&w, (uint64_t)field);
        if (!is_single(kind)) put_number(&w, list->count);
        for (uint32_t i = 0; i < list->count; i++) put_item(&w, kind, &list->item[i], i > 0 ? list->item[i - 1].id : 0);
    }
    return w.length;
}

/* --- reading: the first thing that is wrong sets `error`, and what follows reads zeros */

struct reader {
    const unsigned char *at, *end;
    int error;
};

static uint64_t wrong(struct reader *r) {
    if (!r->error) r->error = -EINVAL;
    r->at = r->end;
    return 0;
}

static uint64_t get_number(struct reader *r) {
    uint64_t n = 0;
    for (int shift = 0; r->at < r->end; shift += 7) {
        unsigned char byte = *r->at++;
        if (shift == 63 && byte > 1) return wrong(r);
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return byte == 0 && shift > 0 ? wrong(r) : n; /* a zero at the end: not the shortest form */
    }
    return wrong(r);
}

static double get_real(struct reader *r) {
    uint64_t n = get_number(r), bits = 0;
    double real;
    int64_t whole;
    if (!(n & 1)) {
        real = (double)unfold(n >> 1) / 1000;
        return thousandths(real, &whole) && whole == unfold(n >> 1) ? real : (double)wrong(r);
    }
    if (n != 1 || r->end - r->at < 8) return (double)wrong(r);
    for (int i = 0; i < 8; i++) bits |= (uint64_t)*r->at++ << 8 * i;
    memcpy(&real, &bits, sizeof real);
    return thousandths(real, &whole) ? (double)wrong(r) : real; /* zero with a sign, too */
}

static const char *get_text(struct reader *r, size_t *length) {
    uint64_t n = get_number(r);
    if (n > (uint64_t)(r->end - r->at)) wrong(r), n = 0;
    const char *text = (const char *)r->at;
    r->at += n;
    *length = (size_t)n;
    return text;
}

static int64_t get_id(struct reader *r, bool first, int64_t before) {
    uint64_t step = get_number(r);
    if ((!first && step == 0) || step > (uint64_t)(INT64_MAX - before)) return (int64_t)wrong(r);
    return before + (int64_t)step;
}

/* Reads one item and sets it as a user would. What would not have been written shows: a default adds no item, nor does a
 * name that is there already; a name out of order does not become the last. */
static void get_item(struct reader *r, struct coppice_params *p, int field, int64_t *before) {
    enum coppice_param_kind kind = params_rows[field].kind;
    const struct params_list *list = &p->field[field];
    uint32_t had = list->count;
    const char *name, *bytes;
    size_t name_length, length;
    double real;
    int error = 0;
    switch (kind) {
    case COPPICE_REAL: real = get_real(r), error = coppice_params_set_real(p, field, real); break;
    case COPPICE_INT: error = coppice_params_set_int(p, field, unfold(get_number(r))); break;
    case COPPICE_FLAG: error = coppice_params_set_int(p, field, params_rows[field].standard == 0); break;
    case COPPICE_STRINGS: bytes = get_text(r, &length), error = coppice_params_add_string(p, field, bytes, length); break;
    case COPPICE_IDS: *before = get_id(r, had == 0, *before), error = coppice_params_add_id(p, field, *before); break;
    case COPPICE_BIAS:
        *before = get_id(r, had == 0, *before), real = get_real(r);
        error = coppice_params_add_bias(p, field, *before, real);
        break;
    case COPPICE_PAIRS:
        name = get_text(r, &name_length), bytes = get_text(r, &length);
        error = coppice_params_add_pair(p, field, name, name_length, bytes, length);
        if (!error && list->count > had && (list->item[had].name_length != name_length || memcmp(list->item[had].name, name, name_length) != 0)) wrong(r);
        break;
    }
    if (error && !r->error) r->error = error;
    if (list->count != had + 1) wrong(r);
}

/* The field's number, greater than the one before. */
static int get_field(struct reader *r, int before) {
    uint64_t field = get_number(r);
    return field > (uint64_t)before && field < COPPICE_PARAM_END && params_rows[field].name ? (int)field : (int)wrong(r);
}

int coppice_params_decode(coppice_params *p, const void *bytes, size_t length) {
    struct reader r = { .at = bytes, .end = bytes ? (const unsigned char *)bytes + length : NULL };
    params_clear(p);
    if (get_number(&r) != COPPICE_PARAMS_VERSION) wrong(&r);
    for (int field = 0; r.at < r.end;) {
        field = get_field(&r, field);
        if (r.error) break;
        int64_t before = 0;
        uint64_t count = is_single(params_rows[field].kind) ? 1 : get_number(&r);
        if (count == 0) wrong(&r);
        while (count-- > 0 && !r.error) get_item(&r, p, field, &before);
    }
    if (r.error) params_clear(p);
    return r.error;
}
