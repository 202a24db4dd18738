/* text.h: text built without malloc, locks or locale, so that a signal handler and a hook can both do it.
 * A *text* is a caller's buffer that fills up; what does not fit is dropped and `full` says so. Always NUL-terminated. */
#ifndef COPPICE_BASE_TEXT_H
#define COPPICE_BASE_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *bytes;
    size_t length, capacity;
    bool full;
};

static inline struct text text_in(char *buffer, size_t capacity) {
    buffer[0] = 0;
    return (struct text){ .bytes = buffer, .capacity = capacity };
}
void text_add(struct text *t, const char *string);
void text_char(struct text *t, char c);
void text_u64(struct text *t, uint64_t value);
void text_i64(struct text *t, int64_t value);
void text_hex(struct text *t, uint64_t value);
/* numerator / denominator with four decimals; nothing is divided by zero: 0 when the denominator is 0. */
void text_ratio(struct text *t, uint64_t numerator, uint64_t denominator);
/* nanoseconds as seconds with three decimals */
void text_seconds(struct text *t, uint64_t nanoseconds);
/* bytes for people: 1.5 GiB */
void text_size(struct text *t, uint64_t bytes);
/* a JSON string, quoted and escaped; bytes that are not UTF-8 become '?' */
void text_json_string(struct text *t, const char *string);
#endif
