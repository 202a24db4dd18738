/* Limits of control groups, version 1 and 2, read from folders that the test makes. */
#include "base/capacity.h"
#include "suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char mount[256];
static void begin(void) {
    strcpy(mount, "/tmp/coppice-capacity-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(mount));
}
static void end(void) {
    char command[512];
    snprintf(command, sizeof command, "rm -r '%s'", mount);
    ck_assert_int_eq(system(command), 0);
}
static void put(const char *folder, const char *file, const char *text) {
    char command[1024];
    snprintf(command, sizeof command, "mkdir -p '%s/%s' && echo '%s' > '%s/%s/%s'", mount, folder, text, mount, folder, file);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(the_least_limit_on_the_way_up_counts) {
    put("a/b", "memory.max", "300000000"), put("a", "memory.max", "200000000"), put("a/b/c", "memory.max", "max");
    ck_assert_uint_eq(capacity_of_groups(mount, "0::/a/b/c\n"), 200000000);
    ck_assert_uint_eq(capacity_of_groups(mount, "0::/a/b\n"), 200000000);
    put("a/b/c", "memory.max", "100");
    ck_assert_uint_eq(capacity_of_groups(mount, "0::/a/b/c\n"), 100);
}
END_TEST

START_TEST(a_group_of_version_1_is_found_among_the_controllers) {
    put("memory/x", "memory.limit_in_bytes", "12345678"), put("memory", "memory.limit_in_bytes", "9223372036854771712");
    ck_assert_uint_eq(capacity_of_groups(mount, "5:cpu,cpuacct:/other\n3:memory:/x\n1:name=systemd:/x\n"), 12345678);
    ck_assert_uint_eq(capacity_of_groups(mount, "3:memory:/gone\n"), 9223372036854771712ull);
}
END_TEST

START_TEST(a_path_that_only_the_outside_knows_means_the_mount) {
    put("", "memory.max", "777777");
    ck_assert_uint_eq(capacity_of_groups(mount, "0::/../../system.slice/docker-1234.scope\n"), 777777);
}
END_TEST

START_TEST(nothing_known_is_no_limit) {
    ck_assert_uint_eq(capacity_of_groups(mount, "0::/a\n"), UINT64_MAX);
    ck_assert_uint_eq(capacity_of_groups(mount, ""), UINT64_MAX);
    ck_assert_uint_eq(capacity_of_groups(mount, "garbage\n::\n:::\n0:"), UINT64_MAX);
    put("", "memory.max", "max");
    ck_assert_uint_eq(capacity_of_groups(mount, "0::/\n"), UINT64_MAX);
    ck_assert_uint_gt(capacity_of_host(), 1 << 20);
}
END_TEST

SUITE("capacity", begin, end,
      the_least_limit_on_the_way_up_counts, a_group_of_version_1_is_found_among_the_controllers, a_path_that_only_the_outside_knows_means_the_mount,
      nothing_known_is_no_limit)
