/* The senses on a machine made of files: each is noticed, the worst one names the level, and what is not there says nothing. */
#include "pressure/senses.h"
#include "base/options.h"
#include "suite.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND 1000000000ull
static char root[64];

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f), fclose(f);
}

static void begin(void) {
    strcpy(root, "/tmp/senses.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    option_values[OPTION_pressure].number = 850;
    option_values[OPTION_embodied].number = 1;
    senses_root(root);
}
static void end(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}

static void version_2(void) {
    put("proc/self/cgroup", "0::/app/one\n");
    put("proc/self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    put("cg/app/one/memory.max", "1000000\n");
    put("cg/app/one/memory.high", "max\n");
    put("cg/app/one/memory.current", "500000\n");
    put("cg/app/one/memory.stat", "anon 1\ninactive_file 100000\n");
    put("cg/app/one/memory.events", "low 0\nhigh 2\nmax 1\n");
}

START_TEST(levels) {
    ck_assert_int_eq(senses_level(849, 850), PRESSURE_NONE);
    ck_assert_int_eq(senses_level(850, 850), PRESSURE_SOME);
    ck_assert_int_eq(senses_level(924, 850), PRESSURE_SOME);
    ck_assert_int_eq(senses_level(925, 850), PRESSURE_HIGH);
    ck_assert_int_eq(senses_level(999, 1000), PRESSURE_NONE);
    ck_assert_int_eq(senses_level(0, 0), PRESSURE_SOME);
}
END_TEST

START_TEST(where_there_is_nothing_nothing_is_said) {
    struct senses_reading r = senses_look(SECOND);
    ck_assert_int_eq(r.level, PRESSURE_NONE);
    ck_assert_int_eq(r.source, PRESSURE_NOBODY);
    ck_assert_uint_eq(r.fullness, 0);
}
END_TEST

START_TEST(a_full_group_is_noticed_without_its_idle_file_cache) {
    version_2();
    ck_assert_uint_eq(senses_look(SECOND).fullness, 400);
    put("cg/app/one/memory.current", "960000\n");
    struct senses_reading r = senses_look(2 * SECOND);
    ck_assert_int_eq(r.source, PRESSURE_GROUP);
    ck_assert_int_eq(r.level, PRESSURE_SOME);
    ck_assert_int_eq(r.host, PRESSURE_SOME);
    ck_assert_int_eq(r.device, PRESSURE_NONE);
    ck_assert_uint_eq(r.fullness, 860);
}
END_TEST

START_TEST(the_lower_limit_counts_and_so_do_groups_above) {
    version_2();
    put("cg/app/one/memory.high", "500000\n");
    ck_assert_uint_eq(senses_look(SECOND).fullness, 800);
    put("cg/app/memory.max", "1000000\n");
    put("cg/app/memory.current", "990000\n");
    senses_forget();
    struct senses_reading r = senses_look(2 * SECOND);
    ck_assert_uint_eq(r.fullness, 990);
    ck_assert_int_eq(r.level, PRESSURE_HIGH);
}
END_TEST

START_TEST(a_limit_that_was_met_since_the_last_look_is_high_pressure_once) {
    version_2();
    ck_assert_int_eq(senses_look(SECOND).level, PRESSURE_NONE);
    put("cg/app/one/memory.events", "low 0\nhigh 3\nmax 1\n");
    ck_assert_int_eq(senses_look(2 * SECOND).level, PRESSURE_HIGH);
    ck_assert_int_eq(senses_look(3 * SECOND).level, PRESSURE_NONE);
    /* the groups are looked for again: what was seen before stays seen */
    ck_assert_int_eq(senses_look(100 * SECOND).level, PRESSURE_NONE);
    put("cg/app/one/memory.events", "low 0\nhigh 3\nmax 2\n");
    ck_assert_int_eq(senses_look(200 * SECOND).level, PRESSURE_HIGH);
}
END_TEST

START_TEST(version_1_is_noticed_too) {
    put("proc/self/cgroup", "4:memory:/app\n0::/\n");
    put("proc/self/mountinfo", "37 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n43 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n");
    put("cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("cg/memory/memory.usage_in_bytes", "5\n");
    put("cg/memory/app/memory.limit_in_bytes", "1000000\n");
    put("cg/memory/app/memory.usage_in_bytes", "900000\n");
    put("cg/memory/app/memory.stat", "inactive_file 800000\ntotal_inactive_file 0\n");
    put("cg/memory/app/memory.failcnt", "4\n");
    struct senses_reading r = senses_look(SECOND);
    ck_assert_int_eq(r.source, PRESSURE_GROUP);
    ck_assert_uint_eq(r.fullness, 900);
    put("cg/memory/app/memory.usage_in_bytes", "100000\n");
    put("cg/memory/app/memory.failcnt", "5\n");
    ck_assert_int_eq(senses_look(2 * SECOND).level, PRESSURE_HIGH);
    ck_assert_int_eq(senses_look(3 * SECOND).level, PRESSURE_NONE);
}
END_TEST

START_TEST(the_machine_and_stalls_are_noticed) {
    put("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 100 kB\n");
    struct senses_reading r = senses_look(SECOND);
    ck_assert_int_eq(r.source, PRESSURE_MACHINE);
    ck_assert_uint_eq(r.fullness, 900);
    put("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 900 kB\n");
    put("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull total=0\n");
    ck_assert_int_eq(senses_look(2 * SECOND).level, PRESSURE_NONE);
    put("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1050000\nfull total=0\n");
    ck_assert_int_eq(senses_look(3 * SECOND).level, PRESSURE_NONE);
    put("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1250000\nfull total=0\n");
    r = senses_look(4 * SECOND);
    ck_assert_int_eq(r.source, PRESSURE_STALL);
    ck_assert_int_eq(r.level, PRESSURE_HIGH);
}
END_TEST

START_TEST(the_groups_own_stalls_go_before_the_machines) {
    version_2();
    put("proc/pressure/memory", "some total=0\n");
    put("cg/app/one/memory.pressure", "some avg10=0.00 total=5\n");
    senses_look(SECOND);
    put("proc/pressure/memory", "some total=900000\n");
    ck_assert_int_eq(senses_look(2 * SECOND).level, PRESSURE_NONE);
    put("cg/app/one/memory.pressure", "some avg10=0.00 total=900005\n");
    ck_assert_int_eq(senses_look(3 * SECOND).source, PRESSURE_STALL);
}
END_TEST

START_TEST(without_a_body_only_our_own_counters_count) {
    version_2();
    put("cg/app/one/memory.current", "990000\n");
    put("cg/app/one/memory.stat", "inactive_file 0\n");
    put("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 1 kB\n");
    option_values[OPTION_embodied].number = 0;
    ck_assert_int_eq(senses_look(SECOND).level, PRESSURE_NONE);
    option_values[OPTION_embodied].number = 1;
    ck_assert_int_eq(senses_look(2 * SECOND).level, PRESSURE_HIGH);
}
END_TEST

SUITE("senses", begin, end,
      levels, where_there_is_nothing_nothing_is_said, a_full_group_is_noticed_without_its_idle_file_cache, the_lower_limit_counts_and_so_do_groups_above,
      a_limit_that_was_met_since_the_last_look_is_high_pressure_once, version_1_is_noticed_too, the_machine_and_stalls_are_noticed,
      the_groups_own_stalls_go_before_the_machines, without_a_body_only_our_own_counters_count)
