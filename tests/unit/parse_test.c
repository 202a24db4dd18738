/* What files of /proc and of control groups say, on contents as recorded, and on what nobody would write. */
#include "pressure/parse.h"
#include "suite.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char hybrid_cgroup[] =
    "9:name=systemd:/\n8:pids:/\n5:devices:/\n4:memory:/process_api/b3cd2f97\n1:cpu:/\n0::/\n";
static const char hybrid_mounts[] =
    "24 1 254:0 / / rw,relatime - ext4 /dev/root rw\n"
    "31 24 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:4 - cgroup cgroup rw,cpu\n"
    "37 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:2 - cgroup cgroup rw,memory\n"
    "43 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
static const char v2_cgroup[] = "0::/system.slice/docker-1f.scope\n";
static const char v2_mounts[] =
    "1 0 0:5 / / rw - overlay overlay rw,lowerdir=/a:/b\n"
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
/* a container of version 1: the host's path, of which only the group itself is mounted */
static const char container_cgroup[] = "11:hugetlb:/docker/77\n7:cpu,memory:/docker/77/sub\n";
static const char container_mounts[] = "700 690 0:30 /docker/77 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n";

static const char *folder(const char *cgroup, const char *mounts, enum group_version version) {
    static char buffer[256];
    struct text t = text_in(buffer, sizeof buffer);
    return parse_group_folder(cgroup, mounts, version, &t) ? buffer : NULL;
}

START_TEST(the_group_is_found_where_it_is_mounted) {
    ck_assert_str_eq(folder(hybrid_cgroup, hybrid_mounts, GROUP_V1), "/sys/fs/cgroup/memory/process_api/b3cd2f97");
    ck_assert_str_eq(folder(hybrid_cgroup, hybrid_mounts, GROUP_V2), "/sys/fs/cgroup/unified");
    ck_assert_str_eq(folder(v2_cgroup, v2_mounts, GROUP_V2), "/sys/fs/cgroup/system.slice/docker-1f.scope");
    ck_assert_ptr_null(folder(v2_cgroup, v2_mounts, GROUP_V1));
    ck_assert_str_eq(folder(container_cgroup, container_mounts, GROUP_V1), "/sys/fs/cgroup/memory/sub");
    ck_assert_ptr_null(folder(container_cgroup, container_mounts, GROUP_V2));
}
END_TEST

START_TEST(a_path_outside_of_what_is_mounted_is_the_mount_itself) {
    ck_assert_str_eq(folder("3:memory:/elsewhere\n", container_mounts, GROUP_V1), "/sys/fs/cgroup/memory");
}
END_TEST

START_TEST(blanks_in_a_mount_point_are_written_as_octal) {
    ck_assert_str_eq(folder("0::/a b\n", "1 0 0:5 / /my\\040groups rw - cgroup2 none rw\n", GROUP_V2), "/my groups/a b");
}
END_TEST

START_TEST(a_controller_is_a_word_not_a_part_of_one) {
    ck_assert_ptr_null(folder("3:memory2,xmemory:/a\n", hybrid_mounts, GROUP_V1));
}
END_TEST

START_TEST(what_does_not_fit_is_not_half_a_path) {
    char buffer[20];
    struct text t = text_in(buffer, sizeof buffer);
    ck_assert(!parse_group_folder(v2_cgroup, v2_mounts, GROUP_V2, &t));
}
END_TEST

START_TEST(numbers) {
    uint64_t n = 5;
    ck_assert(parse_number("268435456\n", &n) && n == 268435456);
    ck_assert(parse_number("9223372036854771712\n", &n) && n == 9223372036854771712ull);
    ck_assert(!parse_number("max\n", &n));
    ck_assert(!parse_number("", &n));
    ck_assert(!parse_number("-1\n", &n));
    ck_assert(!parse_number("99999999999999999999999\n", &n));
}
END_TEST

START_TEST(keys) {
    static const char events[] = "low 0\nhigh 17\nmax 3\noom 0\noom_kill 0\noom_group_kill 0\n";
    static const char meminfo[] = "MemTotal:       24627924 kB\nMemFree:        18000000 kB\nMemAvailable:   23000000 kB\n";
    static const char stat[] = "anon 4096\nfile 0\ninactive_file 8192\ntotal_inactive_file 9000\n";
    uint64_t n;
    ck_assert(parse_key(events, "high", &n) && n == 17);
    ck_assert(parse_key(events, "max", &n) && n == 3);
    ck_assert(parse_key(events, "low", &n) && n == 0);
    ck_assert(!parse_key(events, "oom_", &n));
    ck_assert(parse_key(meminfo, "MemAvailable", &n) && n == 23000000);
    ck_assert(parse_key(stat, "inactive_file", &n) && n == 8192);
    ck_assert(parse_key(stat, "total_inactive_file", &n) && n == 9000);
    ck_assert(!parse_key("high max\n", "high", &n));
}
END_TEST

START_TEST(stalls) {
    uint64_t n;
    ck_assert(parse_stall("some avg10=0.12 avg60=0.00 avg300=0.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n", &n) && n == 123456);
    ck_assert(!parse_stall("full avg10=0.00 total=99\n", &n));
    ck_assert(!parse_stall("some avg10=0.00\nfull total=99\n", &n));
}
END_TEST

/* Texts that end where readable memory ends: what reads too far dies. */
static char *at_the_edge(const char *text, size_t length) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    static char *memory;
    if (!memory) {
        memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(memory + page, page, PROT_NONE);
    }
    char *at = memory + page - length - 1;
    memcpy(at, text, length);
    at[length] = 0;
    return at;
}

START_TEST(any_text_may_come) {
    static const char *const texts[] = { hybrid_cgroup, hybrid_mounts, v2_cgroup, v2_mounts, container_cgroup, container_mounts,
        "some avg10=0.00 total=1\n", "max\n", "high 17\nmax 3\n", "a\\04", "1 0 0:5 / \\ rw - cgroup2 x rw" };
    enum { TEXTS = sizeof texts / sizeof *texts };
    static const char bytes[] = "\n :/-,\\0 9memorysome total=max";
    srand(11);
    for (int round = 0; round < 60000; round++) {
        char mixed[1024], out[64];
        const char *base = texts[rand() % TEXTS];
        size_t length = strlen(base);
        memcpy(mixed, base, length);
        for (int i = rand() % 8; i > 0 && length; i--) mixed[(size_t)rand() % length] = rand() % 4 ? bytes[(size_t)rand() % (sizeof bytes - 1)] : (char)(1 + rand() % 255);
        if (length) length -= (size_t)rand() % length * (rand() % 2);
        char *text = at_the_edge(mixed, length);
        uint64_t n;
        struct text t = text_in(out, sizeof out);
        parse_group_folder(text, hybrid_mounts, rand() % 2 ? GROUP_V1 : GROUP_V2, &t);
        t = text_in(out, sizeof out);
        parse_group_folder(rand() % 2 ? hybrid_cgroup : v2_cgroup, text, rand() % 2 ? GROUP_V1 : GROUP_V2, &t);
        ck_assert_uint_lt(strlen(out), sizeof out);
        parse_number(text, &n), parse_key(text, "max", &n), parse_stall(text, &n);
    }
}
END_TEST

SUITE("parse", NULL, NULL,
      the_group_is_found_where_it_is_mounted, a_path_outside_of_what_is_mounted_is_the_mount_itself, blanks_in_a_mount_point_are_written_as_octal,
      a_controller_is_a_word_not_a_part_of_one, what_does_not_fit_is_not_half_a_path, numbers, keys, stalls, any_text_may_come)
