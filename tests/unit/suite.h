/* suite.h: the end of every unit test: its cases, run by Check, as the program's status. */
#ifndef COPPICE_UNIT_SUITE_H
#define COPPICE_UNIT_SUITE_H
#include <check.h>
#include <signal.h>
#include <sys/prctl.h>

/* Each case runs in a process of its own, which goes when this one is killed because the case hangs. */
static inline void suite_case_ends_with_us(void) { prctl(PR_SET_PDEATHSIG, SIGKILL); }

static inline int suite_run(const char *name, void (*begin)(void), void (*end)(void), const TTest *const *tests, unsigned count) {
    Suite *suite = suite_create(name);
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, suite_case_ends_with_us, NULL);
    tcase_add_checked_fixture(cases, begin, end);
    for (unsigned i = 0; i < count; i++) tcase_add_test(cases, tests[i]);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
/* SUITE("block", begin or NULL, end or NULL, case, case, …) is a whole main; begin and end stand around each case.
 * CASES(the same) is its status, for a main with several. */
#define CASES(name, begin, end, ...) suite_run(name, begin, end, CASES_(__VA_ARGS__), sizeof CASES_(__VA_ARGS__) / sizeof(const TTest *))
#define CASES_(...) ((const TTest *const[]){ __VA_ARGS__ })
#define SUITE(...) \
    int main(void) { return CASES(__VA_ARGS__); }
#endif
