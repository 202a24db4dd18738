/* triggers_test.c: when dumps are made: COPPICE_STATS and COPPICE_SIGNAL, and what is said of wrong ones. */
#include "dump_test.h"
#include <signal.h>

START_TEST(the_list_of_triggers_is_read_exactly) {
    static const struct { const char *text; bool exit, signal; uint64_t ms; const char *wrong; } cases[] = {
        { "", false, false, 0, NULL }, { "exit", true, false, 0, NULL }, { "signal", false, true, 0, NULL }, { "exit,signal", true, true, 0, NULL },
        { "30s,exit", true, false, 30000, NULL }, { " exit , 500ms ", true, false, 500, NULL }, { ",,exit,", true, false, 0, NULL }, { "2", false, false, 2000, NULL },
        { "exit,banana", true, false, 0, "banana" }, { "Exit", false, false, 0, "Exit" }, { "0s,signal", false, true, 0, "0s,signal" }, { "1ms", false, false, 0, "1ms" }, { "exitt", false, false, 0, "exitt" },
        { "signal,0123456789012345678901234567890123456789012345678901234567890123456789", false, true, 0, "0123456789012345678901234567890123456789012345678901234567890123456789" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dump_triggers t = { 0 };
        const char *wrong = dump_parse_stats(cases[i].text, &t);
        ck_assert_msg(t.exit == cases[i].exit && t.signal == cases[i].signal && t.interval_ns == cases[i].ms * 1000000, "'%s'", cases[i].text);
        ck_assert_msg(cases[i].wrong ? wrong && strcmp(wrong, cases[i].wrong) == 0 : !wrong, "'%s': %s", cases[i].text, wrong);
    }
}
END_TEST

START_TEST(signals_have_names_and_numbers) {
    const struct { const char *text; int number; } cases[] = {
        { "USR1", SIGUSR1 }, { "SIGUSR2", SIGUSR2 }, { "10", SIGUSR1 }, { "RTMIN", SIGRTMIN }, { "RTMIN+3", SIGRTMIN + 3 }, { "SIGRTMAX-1", SIGRTMAX - 1 }, { "40", 40 }, { "", 0 },
        { "KILL", -1 }, { "9", -1 }, { "SEGV", -1 }, { "11", -1 }, { "32", -1 }, { "0", -1 }, { "-1", -1 }, { "65", -1 }, { "usr1", -1 }, { "RTMIN+99", -1 }, { "RTMIN+", -1 }, { "RTMIN-1", -1 },
        { "RTMAX-99", -1 }, { "USR3", -1 }, { "17", -1 }, { "99999999999", -1 }, { "1O", -1 },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        int number = -1;
        const char *wrong = dump_parse_signal(cases[i].text, &number);
        ck_assert_msg(number == cases[i].number && !wrong == (cases[i].number >= 0), "'%s' is %d", cases[i].text, number);
    }
}
END_TEST

START_TEST(unset_is_the_signal_only) {
    unsetenv("COPPICE_STATS");
    options_load();
    const struct dump_triggers *t = dump_triggers();
    ck_assert(t->signal && !t->exit && !t->explicit_signal && t->signal_number == SIGUSR1 && !t->interval_ns);
}
END_TEST

START_TEST(empty_is_nothing) {
    setenv("COPPICE_STATS", "", 1);
    options_load();
    const struct dump_triggers *t = dump_triggers();
    ck_assert(!t->signal && !t->exit && t->signal_number == 0 && !t->interval_ns);
}
END_TEST

static void read_triggers(void) { dump_triggers(); }

START_TEST(a_wrong_trigger_or_signal_is_one_line_each) {
    setenv("COPPICE_STATS", "exit,banana", 1);
    setenv("COPPICE_SIGNAL", "KILL", 1);
    options_load();
    const char *said = said_by(read_triggers);
    ck_assert_ptr_nonnull(strstr(said, "COPPICE_STATS=exit,banana is not accepted: expected exit, signal"));
    ck_assert_ptr_nonnull(strstr(said, "COPPICE_SIGNAL=KILL is not accepted: expected USR1"));
    unsigned lines = 0;
    for (const char *s = said; *s; s++) lines += *s == '\n';
    ck_assert_uint_eq(lines, 2);
    ck_assert(dump_triggers()->exit && dump_triggers()->signal_number == 0 && !dump_triggers()->signal);
}
END_TEST

SUITE("triggers", begin, end, the_list_of_triggers_is_read_exactly, signals_have_names_and_numbers, unset_is_the_signal_only, empty_is_nothing,
      a_wrong_trigger_or_signal_is_one_line_each)
