/* text_test.c: numbers, sizes, ratios and JSON strings of base/text.h. */
#include "base/text.h"
#include "suite.h"
#include <stdlib.h>
#include <string.h>

static char buffer[256];
#define TEXT(call) ({ struct text t = text_in(buffer, sizeof buffer); call; buffer; })

START_TEST(numbers_are_written_to_their_ends) {
    ck_assert_str_eq(TEXT(text_u64(&t, 0)), "0");
    ck_assert_str_eq(TEXT(text_u64(&t, UINT64_MAX)), "18446744073709551615");
    ck_assert_str_eq(TEXT(text_i64(&t, INT64_MIN)), "-9223372036854775808");
    ck_assert_str_eq(TEXT(text_hex(&t, 0)), "0x0");
    ck_assert_str_eq(TEXT(text_hex(&t, UINT64_MAX)), "0xffffffffffffffff");
}
END_TEST

START_TEST(ratios_have_four_decimals_and_divide_by_nothing_never) {
    ck_assert_str_eq(TEXT(text_ratio(&t, 1, 3)), "0.3333");
    ck_assert_str_eq(TEXT(text_ratio(&t, 7, 7)), "1.0000");
    ck_assert_str_eq(TEXT(text_ratio(&t, 5, 0)), "0.0000");
    ck_assert_str_eq(TEXT(text_ratio(&t, UINT64_MAX, UINT64_MAX)), "1.0000");
}
END_TEST

START_TEST(sizes_and_times_are_for_people) {
    ck_assert_str_eq(TEXT(text_size(&t, 1023)), "1023 B");
    ck_assert_str_eq(TEXT(text_size(&t, 1536)), "1.5 KiB");
    ck_assert_str_eq(TEXT(text_size(&t, UINT64_MAX)), "16777215.9 TiB");
    ck_assert_str_eq(TEXT(text_seconds(&t, 1234567890)), "1.234");
}
END_TEST

START_TEST(what_does_not_fit_is_dropped_and_said) {
    char small[4];
    struct text t = text_in(small, sizeof small);
    text_add(&t, "abc");
    ck_assert(!t.full);
    text_add(&t, "d");
    ck_assert(t.full);
    ck_assert_str_eq(small, "abc");
}
END_TEST

START_TEST(json_strings_escape_what_json_forbids) {
    ck_assert_str_eq(TEXT(text_json_string(&t, "a\"b\\c\n\x7f")), "\"a\\u0022b\\u005cc\\u000a\\u007f\"");
    ck_assert_str_eq(TEXT(text_json_string(&t, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\xb3")), "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\xb3\"");
}
END_TEST

/* Each is not UTF-8: cut short, overlong, a surrogate, beyond U+10FFFF, a stray continuation. */
START_TEST(json_strings_replace_what_is_not_utf8) {
    static const char *const bad[] = { "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\x80", "\xff" };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *json = TEXT(text_json_string(&t, bad[i]));
        for (const char *s = json; *s; s++) ck_assert_msg(!(*s & 0x80), "case %u keeps a bad byte: %s", i, json);
    }
}
END_TEST

SUITE("text", NULL, NULL,
      numbers_are_written_to_their_ends, ratios_have_four_decimals_and_divide_by_nothing_never,
      sizes_and_times_are_for_people, what_does_not_fit_is_dropped_and_said, json_strings_escape_what_json_forbids,
      json_strings_replace_what_is_not_utf8)
