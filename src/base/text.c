/* text.c: numbers and strings into a caller's buffer; see text.h. */
#include "base/text.h"

void text_char(struct text *t, char c) {
    if (t->length + 1 >= t->capacity) {
        t->full = true;
        return;
    }
    t->bytes[t->length++] = c;
    t->bytes[t->length] = 0;
}

void text_add(struct text *t, const char *string) {
    for (; *string; string++) text_char(t, *string);
}

static void digits(struct text *t, uint64_t value, unsigned base, int width) {
    char reversed[24];
    int n = 0;
    do reversed[n++] = "0123456789abcdef"[value % base], value /= base;
    while (value > 0);
    while (n < width) reversed[n++] = '0';
    while (n > 0) text_char(t, reversed[--n]);
}

void text_u64(struct text *t, uint64_t value) { digits(t, value, 10, 0); }
void text_hex(struct text *t, uint64_t value) { text_add(t, "0x"), digits(t, value, 16, 0); }

void text_i64(struct text *t, int64_t value) {
    if (value < 0) text_char(t, '-');
    digits(t, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, 0);
}

void text_ratio(struct text *t, uint64_t numerator, uint64_t denominator) {
    if (denominator == 0) numerator = 0, denominator = 1;
    uint64_t tenthousandths = (uint64_t)((__uint128_t)numerator * 10000 / denominator);
    digits(t, tenthousandths / 10000, 10, 0);
    text_char(t, '.');
    digits(t, tenthousandths % 10000, 10, 4);
}

void text_seconds(struct text *t, uint64_t nanoseconds) {
    digits(t, nanoseconds / 1000000000, 10, 0);
    text_char(t, '.');
    digits(t, nanoseconds / 1000000 % 1000, 10, 3);
}

void text_size(struct text *t, uint64_t bytes) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    unsigned unit = 0;
    uint64_t scale = 1;
    while (unit < 4 && bytes >= scale * 1024) scale *= 1024, unit++;
    digits(t, bytes / scale, 10, 0);
    if (unit > 0) text_char(t, '.'), digits(t, bytes % scale * 10 / scale, 10, 0);
    text_char(t, ' ');
    text_add(t, units[unit]);
}

/* Length of the well-formed UTF-8 sequence at s, or 0 (cut short, overlong, a surrogate, beyond U+10FFFF). */
static int utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    int n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

void text_json_string(struct text *t, const char *string) {
    const unsigned char *s = (const unsigned char *)string;
    text_char(t, '"');
    while (*s) {
        int n = utf8_length(s);
        if (n == 0) {
            text_char(t, '?'), s++;
        } else if (n == 1 && (*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)) {
            text_add(t, "\\u00"), digits(t, *s, 16, 2), s++;
        } else {
            while (n-- > 0) text_char(t, (char)*s++);
        }
    }
    text_char(t, '"');
}
