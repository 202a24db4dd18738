/* params_test.c: sets of sampling parameters: one encoding a set, whatever the order; there and back; any bytes are survived. */
#include "intern/params.h"
#include "suite.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned char bytes[4096]; size_t length; } encoding;

static encoding encoded(const coppice_params *p) {
    encoding e;
    memset(e.bytes, 0xAA, sizeof e.bytes);
    e.length = coppice_params_encode(p, e.bytes, sizeof e.bytes);
    ck_assert_uint_le(e.length, sizeof e.bytes);
    return e;
}
static bool same(const encoding *a, const encoding *b) { return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0; }
static bool equal(const coppice_params *a, const coppice_params *b) {
    encoding x = encoded(a), y = encoded(b);
    return same(&x, &y);
}
static void add_stop(coppice_params *p, const char *text) { ck_assert_int_eq(coppice_params_add_string(p, COPPICE_STOP, text, strlen(text)), 0); }
static void add_extra(coppice_params *p, const char *name, const char *text) {
    ck_assert_int_eq(coppice_params_add_pair(p, COPPICE_EXTRA, name, strlen(name), text, strlen(text)), 0);
}

START_TEST(the_order_of_setting_makes_no_difference) {
    coppice_params *a = coppice_params_new(), *b = coppice_params_new();
    coppice_params_set_real(a, COPPICE_TEMPERATURE, 0.7), coppice_params_set_int(a, COPPICE_SEED, 42), add_stop(a, "\n");
    coppice_params_add_id(a, COPPICE_STOP_TOKEN_IDS, 7), coppice_params_add_id(a, COPPICE_STOP_TOKEN_IDS, 2), coppice_params_add_id(a, COPPICE_STOP_TOKEN_IDS, 7);
    coppice_params_add_bias(a, COPPICE_LOGIT_BIAS, 50, -100), coppice_params_add_bias(a, COPPICE_LOGIT_BIAS, 3, 1.5);
    add_extra(a, "guided_json", "{}"), add_extra(a, "a", "1");
    add_extra(b, "a", "0"), add_extra(b, "guided_json", "{}"), add_extra(b, "a", "1");
    coppice_params_add_bias(b, COPPICE_LOGIT_BIAS, 3, 9), coppice_params_add_bias(b, COPPICE_LOGIT_BIAS, 3, 1.5), coppice_params_add_bias(b, COPPICE_LOGIT_BIAS, 50, -100);
    coppice_params_add_id(b, COPPICE_STOP_TOKEN_IDS, 2), coppice_params_add_id(b, COPPICE_STOP_TOKEN_IDS, 7);
    add_stop(b, "\n"), coppice_params_set_int(b, COPPICE_SEED, 1), coppice_params_set_int(b, COPPICE_SEED, 42), coppice_params_set_real(b, COPPICE_TEMPERATURE, 0.7);
    ck_assert(equal(a, b));
    coppice_params_set_int(b, COPPICE_SEED, 43);
    ck_assert(!equal(a, b));
    coppice_params_free(a), coppice_params_free(b);
}
END_TEST

START_TEST(a_default_that_is_spelled_out_makes_no_difference) {
    coppice_params *none = coppice_params_new(), *all = coppice_params_new();
    for (int field = 1; field < COPPICE_PARAM_END; field++) {
        const struct params_row *row = &params_rows[field];
        if (row->has_default != PARAMS_VALUE) continue;
        /* first something else, then the default */
        if (row->kind == COPPICE_REAL) coppice_params_set_real(all, field, 0.25), coppice_params_set_real(all, field, row->standard);
        else coppice_params_set_int(all, field, row->standard == 0), coppice_params_set_int(all, field, (int64_t)row->standard);
        ck_assert_uint_eq(coppice_params_count(all, field), 0);
    }
    coppice_params_set_real(all, COPPICE_PRESENCE_PENALTY, -0.0);
    ck_assert(equal(none, all));
    encoding e = encoded(all);
    ck_assert(e.length == 1 && e.bytes[0] == COPPICE_PARAMS_VERSION);
    double zero = 1;
    coppice_params_set_real(none, COPPICE_TEMPERATURE, 0.0), coppice_params_set_real(all, COPPICE_TEMPERATURE, -0.0);
    ck_assert(equal(none, all) && coppice_params_real(all, COPPICE_TEMPERATURE, 0, NULL, &zero) == 0 && !signbit(zero));
    coppice_params_set_int(all, COPPICE_MAX_TOKENS, 16); /* no common default: it is written, whatever it is */
    ck_assert(!equal(none, all));
    coppice_params_free(none), coppice_params_free(all);
}
END_TEST

START_TEST(each_value_of_each_field_is_another_encoding) {
    static const double reals[] = { 0.1, 0.10001, 0.5, -0.5, 2, 1e9, -1e9, 0.1f, INFINITY, -INFINITY, 5e-324, 999999.999, 1000000 };
    static const int64_t ints[] = { -1, 2, 63, 64, -64, -65, 1000, INT64_MAX, INT64_MIN };
    encoding seen[400];
    unsigned n = 0;
    for (int field = 1; field < COPPICE_PARAM_END; field++) {
        coppice_params *p = coppice_params_new(), *q = coppice_params_new();
        for (unsigned i = 0; i < 13; i++) {
            enum coppice_param_kind kind = params_rows[field].kind;
            if (kind == COPPICE_REAL) ck_assert_int_eq(coppice_params_set_real(p, field, reals[i]), 0);
            else if (kind == COPPICE_INT && i < 9) ck_assert_int_eq(coppice_params_set_int(p, field, ints[i]), 0);
            else break;
            seen[n] = encoded(p);
            for (unsigned j = 0; j < n; j++) ck_assert_msg(!same(&seen[j], &seen[n]), "field %d value %u", field, i);
            ck_assert_int_eq(coppice_params_decode(q, seen[n].bytes, seen[n].length), 0);
            double real = 0;
            int64_t whole = 0;
            if (kind == COPPICE_REAL) ck_assert(coppice_params_real(q, field, 0, NULL, &real) == 0 && real == reals[i]);
            else ck_assert(coppice_params_int(q, field, 0, &whole) == 0 && whole == ints[i]);
            n++;
        }
        coppice_params_free(p), coppice_params_free(q);
    }
    ck_assert_uint_gt(n, 250);
}
END_TEST

START_TEST(lists_come_back) {
    coppice_params *p = coppice_params_new(), *q = coppice_params_new();
    add_stop(p, "zz"), add_stop(p, ""), add_stop(p, "zz"), add_stop(p, "a"); /* their order is part of the setting */
    coppice_params_add_bias(p, COPPICE_LOGIT_BIAS, INT64_MAX, 0), coppice_params_add_bias(p, COPPICE_LOGIT_BIAS, 0, -INFINITY);
    add_extra(p, "", "empty"), add_extra(p, "b", ""), add_extra(p, "ab", "1"), add_extra(p, "a", "2");
    encoding e = encoded(p);
    ck_assert_int_eq(coppice_params_decode(q, e.bytes, e.length), 0);
    ck_assert(equal(p, q));
    const char *names[] = { "", "a", "ab", "b" }, *stops[] = { "zz", "", "zz", "a" }, *name, *bytes;
    size_t name_length, length;
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(coppice_params_bytes(q, COPPICE_STOP, i, NULL, NULL, &bytes, &length), 0);
        ck_assert_str_eq(bytes, stops[i]);
        ck_assert_int_eq(coppice_params_bytes(q, COPPICE_EXTRA, i, &name, &name_length, &bytes, &length), 0);
        ck_assert_str_eq(name, names[i]);
    }
    int64_t id;
    double real;
    ck_assert(coppice_params_real(q, COPPICE_LOGIT_BIAS, 0, &id, &real) == 0 && id == 0 && real == -INFINITY);
    ck_assert(coppice_params_real(q, COPPICE_LOGIT_BIAS, 1, &id, &real) == 0 && id == INT64_MAX && real == 0);
    ck_assert_int_eq(coppice_params_bytes(q, COPPICE_STOP, 4, NULL, NULL, &bytes, &length), -EINVAL);
    ck_assert_int_eq(coppice_params_real(q, COPPICE_STOP, 0, &id, &real), -EINVAL);
    coppice_params_free(p), coppice_params_free(q);
}
END_TEST

START_TEST(what_cannot_be_is_refused) {
    coppice_params *p = coppice_params_new();
    ck_assert_int_eq(coppice_params_set_real(p, COPPICE_TEMPERATURE, NAN), -EINVAL);
    ck_assert_int_eq(coppice_params_set_real(p, COPPICE_SEED, 1), -EINVAL);
    ck_assert_int_eq(coppice_params_set_int(p, COPPICE_TEMPERATURE, 1), -EINVAL);
    ck_assert_int_eq(coppice_params_set_int(p, COPPICE_IGNORE_EOS, 2), -EINVAL);
    ck_assert_int_eq(coppice_params_add_id(p, COPPICE_STOP_TOKEN_IDS, -1), -EINVAL);
    ck_assert_int_eq(coppice_params_add_bias(p, COPPICE_LOGIT_BIAS, 1, NAN), -EINVAL);
    for (int field = -2; field < COPPICE_PARAM_END + 3; field++)
        if (field < 1 || field >= COPPICE_PARAM_END) ck_assert(coppice_params_set_int(p, field, 1) == -EINVAL && !coppice_params_name(field) && coppice_params_kind(field) == -1);
    ck_assert_uint_eq(encoded(p).length, 1);
    coppice_params_free(p);
}
END_TEST

START_TEST(the_format_does_not_change) {
    coppice_params *p = coppice_params_new();
    coppice_params_set_real(p, COPPICE_TEMPERATURE, 0.7), coppice_params_set_real(p, COPPICE_TOP_P, 0.1f), coppice_params_set_int(p, COPPICE_MAX_TOKENS, 256);
    coppice_params_set_int(p, COPPICE_IGNORE_EOS, 1), add_stop(p, "</s>");
    coppice_params_add_bias(p, COPPICE_LOGIT_BIAS, 300, -1), coppice_params_add_bias(p, COPPICE_LOGIT_BIAS, 302, 2);
    static const unsigned char expected[] = {
        1, 1, 0xF0, 0x15, 2, 1, 0, 0, 0, 0xA0, 0x99, 0x99, 0xB9, 0x3F, 9, 0x80, 0x04, 16, 1, 4, '<', '/', 's', '>', 20, 2, 0xAC, 0x02, 0x9E, 0x1F, 2, 0xC0, 0x3E, 21,
    };
    encoding e = encoded(p);
    ck_assert_uint_eq(e.length, sizeof expected);
    ck_assert_mem_eq(e.bytes, expected, sizeof expected);
    unsigned char small[8] = { [7] = 0x55 };
    ck_assert_uint_eq(coppice_params_encode(p, small, 7), sizeof expected);
    ck_assert_uint_eq(small[7], 0x55);
    coppice_params_free(p);
}
END_TEST

START_TEST(only_what_is_written_is_read) {
    static const struct { const char *why; unsigned char bytes[16]; size_t length; } cases[] = {
        { "nothing", { 0 }, 0 }, { "another version", { 2 }, 1 }, { "a field that is none", { 1, 41, 0 }, 3 }, { "field 0", { 1, 0 }, 2 }, { "no value", { 1, 1 }, 2 },
        { "a default", { 1, 1, 0xA0, 0x1F }, 4 }, { "fields fall", { 1, 8, 2, 7, 0 }, 5 }, { "a field twice", { 1, 8, 2, 8, 4 }, 5 }, { "a number with a zero at the end", { 1, 8, 0x82, 0 }, 4 },
        { "a number of 65 bits", { 1, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2 }, 12 }, { "an empty list", { 1, 16, 0 }, 3 }, { "ids equal", { 1, 17, 2, 5, 0 }, 5 },
        { "a text longer than what is left", { 1, 16, 1, 200, 1, 'x' }, 6 }, { "more items than there are", { 1, 17, 255, 255, 255, 127, 1 }, 7 },
        { "0.5 as eight bytes", { 1, 1, 1, 0, 0, 0, 0, 0, 0, 0xE0, 0x3F }, 11 }, { "a NaN", { 1, 1, 1, 0, 0, 0, 0, 0, 0, 0xF8, 0x7F }, 11 }, { "-0", { 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0x80 }, 11 },
        { "a real of another form", { 1, 1, 3 }, 3 }, { "a real cut short", { 1, 1, 1, 0, 0, 0 }, 6 }, { "names fall", { 1, 40, 2, 1, 'b', 0, 1, 'a', 0 }, 9 }, { "names equal", { 1, 40, 2, 1, 'b', 0, 1, 'b', 0 }, 9 },
        { "ids beyond 63 bits", { 1, 17, 2, 255, 255, 255, 255, 255, 255, 255, 255, 127, 1 }, 13 },
    };
    coppice_params *p = coppice_params_new();
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        add_stop(p, "old");
        ck_assert_msg(coppice_params_decode(p, cases[i].bytes, cases[i].length) == -EINVAL, "%s", cases[i].why);
        ck_assert_msg(encoded(p).length == 1, "%s leaves something", cases[i].why);
    }
    ck_assert_int_eq(coppice_params_decode(p, NULL, 0), -EINVAL);
    coppice_params_free(p);
}
END_TEST

START_TEST(names_and_numbers_belong_together) {
    for (int field = 1; field < COPPICE_PARAM_END; field++) ck_assert_int_eq(coppice_params_field(coppice_params_name(field)), field);
    ck_assert_int_eq(coppice_params_field("temperatur"), 0);
    ck_assert_int_eq(coppice_params_kind(COPPICE_STOP), COPPICE_STRINGS);
}
END_TEST

/* --- any bytes */

static unsigned random_set(coppice_params *p) {
    char text[8];
    unsigned steps = (unsigned)rand() % 12;
    for (unsigned i = 0; i < steps; i++) {
        int field = rand() % COPPICE_PARAM_END, length = rand() % 8;
        for (int j = 0; j < length; j++) text[j] = (char)rand();
        switch (coppice_params_kind(field)) {
        case COPPICE_REAL: coppice_params_set_real(p, field, rand() % 2 ? rand() % 3000 / 1000.0 : rand() / 3.0e8); break;
        case COPPICE_INT: coppice_params_set_int(p, field, (int64_t)((uint64_t)rand() << rand() % 34)); break;
        case COPPICE_FLAG: coppice_params_set_int(p, field, rand() % 2); break;
        case COPPICE_STRINGS: coppice_params_add_string(p, field, text, (size_t)length); break;
        case COPPICE_IDS: coppice_params_add_id(p, field, rand() % 300); break;
        case COPPICE_BIAS: coppice_params_add_bias(p, field, rand() % 300, rand() % 200 - 100); break;
        case COPPICE_PAIRS: coppice_params_add_pair(p, field, text, (size_t)length / 2, text, (size_t)length); break;
        }
    }
    return steps;
}

/* Exactly as large as its content, so that a read beyond the end is seen by whoever watches. What is accepted is what
 * would have been written. */
static bool accepted(coppice_params *p, const unsigned char *bytes, size_t length) {
    unsigned char *exact = malloc(length ? length : 1);
    memcpy(exact, bytes, length);
    bool good = coppice_params_decode(p, exact, length) == 0;
    encoding e = encoded(p);
    ck_assert(good ? e.length == length && memcmp(e.bytes, exact, length) == 0 : e.length == 1);
    free(exact);
    return good;
}

START_TEST(random_sets_come_back_and_mutated_ones_are_canonical_or_refused) {
    unsigned good = 0, bad = 0;
    srand(11);
    for (unsigned round = 0; round < 20000; round++) {
        coppice_params *p = coppice_params_new();
        random_set(p);
        encoding e = encoded(p);
        ck_assert(accepted(p, e.bytes, e.length));
        for (unsigned m = 0; m < 4; m++) {
            encoding f = e;
            unsigned changes = 1 + (unsigned)rand() % 3;
            for (unsigned i = 0; i < changes; i++) f.bytes[(unsigned)rand() % f.length] = (unsigned char)(rand() % 3 ? rand() % 42 : rand());
            if (rand() % 4 == 0) f.length = (unsigned)rand() % (f.length + 4);
            if (accepted(p, f.bytes, f.length)) good++;
            else bad++;
        }
        coppice_params_free(p);
    }
    ck_assert(good > 1000 && bad > 1000);
}
END_TEST

START_TEST(random_bytes_do_no_harm) {
    coppice_params *p = coppice_params_new();
    unsigned char bytes[64];
    srand(12);
    for (unsigned round = 0; round < 100000; round++) {
        size_t length = (unsigned)rand() % sizeof bytes;
        for (size_t i = 0; i < length; i++) bytes[i] = (unsigned char)(rand() % 2 ? rand() % 48 : rand());
        if (length) bytes[0] = 1;
        accepted(p, bytes, length);
    }
    coppice_params_free(p);
}
END_TEST

SUITE("params", NULL, NULL,
    the_order_of_setting_makes_no_difference, a_default_that_is_spelled_out_makes_no_difference,
    each_value_of_each_field_is_another_encoding, lists_come_back, what_cannot_be_is_refused, the_format_does_not_change,
    only_what_is_written_is_read, names_and_numbers_belong_together, random_sets_come_back_and_mutated_ones_are_canonical_or_refused,
    random_bytes_do_no_harm)
