/* options_test.c: what each kind of option accepts, and what is said of the rest. */
#include "base/options.h"
#include "base/log.h"
#include "suite.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char said[8192];

/* Loads the environment and keeps what is written to standard error meanwhile. */
static void load(void) {
    FILE *file = tmpfile();
    int kept = dup(2);
    dup2(fileno(file), 2);
    options_load();
    dup2(kept, 2);
    close(kept);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = 0;
    fclose(file);
}

static unsigned lines(void) {
    unsigned n = 0;
    for (const char *s = said; *s; s++) n += *s == '\n';
    return n;
}

START_TEST(defaults_are_accepted_by_their_own_rows) {
    for (int id = 0; id < OPTION_COUNT; id++) {
        union option_value value;
        const struct option_row *row = &option_rows[id];
        ck_assert_msg(!row->standard || option_parse(row, row->standard, &value), "%s", row->name);
    }
    load();
    ck_assert_str_eq(said, "");
    ck_assert(option_number(pool_max) == SIZE_AUTO);
    ck_assert_ptr_null(option_text(stats));
    ck_assert_str_eq(option_text(signal), "USR1");
}
END_TEST

START_TEST(sizes_take_binary_units) {
    static const struct { const char *text; bool good; uint64_t bytes; } cases[] = {
        { "0", true, 0 }, { "512M", true, 512u << 20 }, { "1g", true, 1u << 30 }, { "1.5K", true, 1536 }, { "4GiB", true, 4ull << 30 }, { "auto", true, SIZE_AUTO },
        { "", false, 0 }, { "-1", false, 0 }, { "banana", false, 0 }, { "1X", false, 0 }, { "1 G", false, 0 }, { "99999999999999999999T", false, 0 }, { "1GG", false, 0 },
        { "nan", false, 0 }, { "0x10", false, 0 }, { "1e9", false, 0 }, { "G", false, 0 }, { ".", false, 0 }, { "AUTO", false, 0 },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        union option_value value = { 0 };
        bool good = option_parse(&option_rows[OPTION_pool_max], cases[i].text, &value);
        ck_assert_msg(good == cases[i].good, "%s", cases[i].text);
        if (good) ck_assert_msg(value.number == cases[i].bytes, "%s is %llu", cases[i].text, (unsigned long long)value.number);
    }
}
END_TEST

START_TEST(times_take_their_units) {
    static const struct { const char *text; bool good; uint64_t ns; } cases[] = {
        { "1", true, 1000000000 }, { "500ms", true, 500000000 }, { "2m", true, 120000000000 }, { "1.5s", true, 1500000000 }, { "1h", true, 3600000000000 },
        { "", false, 0 }, { "s", false, 0 }, { "1d", false, 0 }, { "-1s", false, 0 }, { "99999999999h", false, 0 }, { "1s ", false, 0 },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = 0;
        ck_assert_msg(parse_time(cases[i].text, &ns) == cases[i].good, "%s", cases[i].text);
        if (cases[i].good) ck_assert_msg(ns == cases[i].ns, "%s is %llu", cases[i].text, (unsigned long long)ns);
    }
}
END_TEST

START_TEST(counts_are_whole_numbers_in_their_range) {
    static const struct { const char *text; bool good; uint64_t count; } cases[] = {
        { "1", true, 1 }, { "10000", true, 10000 }, { "10000000", true, 10000000 }, { "007", true, 7 },
        { "", false, 0 }, { "0", false, 0 }, { "10000001", false, 0 }, { "-1", false, 0 }, { "1K", false, 0 }, { "1.5", false, 0 }, { " 1", false, 0 },
        { "99999999999999999999", false, 0 }, { "18446744073709551617", false, 0 }, { "1e3", false, 0 },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        union option_value value = { 0 };
        bool good = option_parse(&option_rows[OPTION_intern_max_entries], cases[i].text, &value);
        ck_assert_msg(good == cases[i].good, "%s", cases[i].text);
        if (good) ck_assert_msg(value.number == cases[i].count, "%s is %llu", cases[i].text, (unsigned long long)value.number);
    }
    setenv("COPPICE_INTERN_MAX_ENTRIES", "many", 1);
    load();
    ck_assert_uint_eq(lines(), 1);
    ck_assert_ptr_nonnull(strstr(said, "a whole number from 1 to 10000000; using 10000"));
    ck_assert_uint_eq(option_number(intern_max_entries), 10000);
}
END_TEST

START_TEST(a_wrong_value_is_one_line_with_name_value_and_what_is_accepted) {
    setenv("COPPICE_POOL_MAX", "banana", 1);
    load();
    ck_assert_uint_eq(lines(), 1);
    ck_assert_ptr_nonnull(strstr(said, "COPPICE_POOL_MAX"));
    ck_assert_ptr_nonnull(strstr(said, "banana"));
    ck_assert_ptr_nonnull(strstr(said, "a size such as"));
    ck_assert(option_number(pool_max) == SIZE_AUTO);
}
END_TEST

START_TEST(a_wrong_value_of_any_size_or_content_stays_one_line) {
    char value[3000];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = 0;
    value[10] = '\n';
    setenv("COPPICE_STATS_FORMAT", value, 1);
    load();
    ck_assert_uint_eq(lines(), 1);
    ck_assert_ptr_nonnull(strstr(said, "one of text|json"));
}
END_TEST

START_TEST(an_unknown_name_is_said) {
    setenv("COPPICE_POOL_MAXX", "1G", 1);
    load();
    ck_assert_uint_eq(lines(), 1);
    ck_assert_ptr_nonnull(strstr(said, "COPPICE_POOL_MAXX"));
}
END_TEST

START_TEST(a_process_that_is_switched_off_says_nothing) {
    setenv("COPPICE_DISABLE", "1", 1);
    setenv("COPPICE_POOL_MAX", "banana", 1);
    setenv("COPPICE_NONSENSE", "1", 1);
    load();
    ck_assert_str_eq(said, "");
    ck_assert(options_off());
}
END_TEST

START_TEST(only_and_skip_choose_by_the_executables_name) {
    ck_assert(glob_list_matches("python*|node", "python3.11"));
    ck_assert(glob_list_matches("sh|n?de", "node"));
    ck_assert(!glob_list_matches("python*|node", "nodejs"));
    ck_assert(!glob_list_matches("", "anything"));
    setenv("COPPICE_SKIP", "other|options_*", 1);
    load();
    ck_assert(options_off());
}
END_TEST

START_TEST(every_row_can_be_explained) {
    char buffer[160];
    for (int id = 0; id < OPTION_COUNT; id++) {
        ck_assert_uint_gt(strlen(option_accepts(&option_rows[id], buffer, sizeof buffer)), 0);
        ck_assert_uint_gt(strlen(option_rows[id].help), 0);
    }
}
END_TEST

SUITE("options", NULL, NULL,
      defaults_are_accepted_by_their_own_rows, sizes_take_binary_units, times_take_their_units,
      counts_are_whole_numbers_in_their_range, a_wrong_value_is_one_line_with_name_value_and_what_is_accepted,
      a_wrong_value_of_any_size_or_content_stays_one_line, an_unknown_name_is_said,
      a_process_that_is_switched_off_says_nothing, only_and_skip_choose_by_the_executables_name, every_row_can_be_explained)
