/* counters_test.c: the counters' file, and the slots of threads. Each case runs in a process of its own (Check forks). */
#include "stats/totals.h"
#include "base/options.h"
#include "suite.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char place[64], folder[128];

/* A place of our own for the file. */
static void begin(void) {
    strcpy(place, "/tmp/counters_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(place));
    snprintf(folder, sizeof folder, "%s/coppice-%u", place, geteuid());
    setenv("COPPICE_STATE_DIR", place, 1);
    options_load();
}

static void end(void) {
    char command[128];
    counters_close(false);
    umount2(place, MNT_DETACH); /* where a case mounted it */
    snprintf(command, sizeof command, "rm -rf %s", place);
    ck_assert_int_eq(system(command), 0);
}

static void read_file(const char *path, struct counters *c) {
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, c, sizeof *c), sizeof *c);
    close(fd);
}

static bool in_our_place(void) { return strncmp(counters_path(), place, strlen(place)) == 0; }
static struct counters seen;

START_TEST(what_is_counted_is_in_the_file) {
    ck_assert_int_eq(counters_open(false), 0);
    ck_assert(in_our_place());
    struct thread_counters *slot = counters_thread_begin();
    counter_bump(&slot->allocs, 7);
    counter_set(&counters->device[3].claimed_bytes, 99);
    counter_add(counters_call("cuSomething"), 5);
    read_file(counters_path(), &seen);
    ck_assert(seen.magic == COUNTERS_MAGIC && seen.size == sizeof seen);
    ck_assert_int_eq(counter_get(&seen.pid), getpid());
    ck_assert_uint_eq(counters_host_totals(&seen).allocs, 7);
    ck_assert_uint_eq(counter_get(&seen.device[3].claimed_bytes), 99);
    ck_assert_str_eq(seen.call[0].name, "cuSomething");
    ck_assert_ptr_nonnull(strstr(seen.command, "counters_test"));
}
END_TEST

START_TEST(counts_made_before_the_file_are_kept_and_pointers_stay_good) {
    struct thread_counters *slots[100];
    for (int i = 0; i < 100; i++) slots[i] = counters_thread_begin(), counter_bump(&slots[i]->allocs, 1);
    counter *call = counters_call("early");
    counter_add(call, 3);
    ck_assert_int_eq(counters_open(false), 0);
    for (int i = 0; i < 100; i++) counter_bump(&slots[i]->allocs, 1);
    counter_add(call, 1);
    read_file(counters_path(), &seen);
    ck_assert_uint_eq(counters_host_totals(&seen).allocs, 200);
    ck_assert_uint_eq(counter_get(&seen.call[0].calls), 4);
}
END_TEST

START_TEST(the_folder_and_the_file_are_for_us_alone) {
    struct stat s;
    umask(0);
    ck_assert_int_eq(counters_open(false), 0);
    ck_assert_int_eq(stat(folder, &s), 0);
    ck_assert_int_eq(s.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(counters_path(), &s), 0);
    ck_assert_int_eq(s.st_mode & 07777, 0600);
}
END_TEST

static void expect_next_place(void) {
    ck_assert_int_eq(counters_open(false), 0);
    ck_assert_msg(!in_our_place(), "%s", counters_path());
}

START_TEST(a_folder_with_open_bits_is_left_alone) {
    ck_assert_int_eq(mkdir(folder, 0750), 0);
    expect_next_place();
}
END_TEST

START_TEST(a_folder_that_is_a_link_is_left_alone) {
    char other[160];
    snprintf(other, sizeof other, "%s/real", place);
    ck_assert_int_eq(mkdir(other, 0700), 0);
    ck_assert_int_eq(symlink(other, folder), 0);
    expect_next_place();
}
END_TEST

START_TEST(a_folder_of_somebody_else_is_left_alone) {
    if (geteuid() != 0) return; /* nobody else can give it away */
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(chown(folder, 12345, 12345), 0);
    expect_next_place();
}
END_TEST

/* After exec a process has the name that it had before. */
START_TEST(a_file_of_the_same_name_makes_way) {
    ck_assert_int_eq(counters_open(false), 0);
    struct stat old, new;
    ck_assert_int_eq(stat(counters_path(), &old), 0);
    int keep = open(counters_path(), O_RDONLY); /* so that its inode is not used again */
    ck_assert_int_eq(counters_open(false), 0);
    ck_assert_int_eq(stat(counters_path(), &new), 0);
    ck_assert(old.st_ino != new.st_ino);
    close(keep);
}
END_TEST

START_TEST(a_link_in_the_files_place_is_not_followed) {
    char victim[160], link[256];
    ck_assert_int_eq(counters_open(false), 0);
    strcpy(link, counters_path());
    snprintf(victim, sizeof victim, "%s/victim", place);
    FILE *f = fopen(victim, "w");
    fputs("mine", f), fclose(f);
    ck_assert_int_eq(unlink(link), 0);
    ck_assert_int_eq(symlink(victim, link), 0);
    ck_assert_int_eq(counters_open(false), 0);
    struct stat s;
    ck_assert_int_eq(stat(victim, &s), 0);
    ck_assert_int_eq(s.st_size, 4);
}
END_TEST

static unsigned descriptors(void) {
    unsigned n = 0;
    DIR *all = opendir("/proc/self/fd");
    while (readdir(all)) n++;
    closedir(all);
    return n;
}

START_TEST(no_descriptor_and_no_errno_is_left_behind) {
    unsigned before = descriptors();
    errno = 4711;
    ck_assert_int_eq(counters_open(false), 0);
    ck_assert_int_eq(errno, 4711);
    ck_assert_uint_eq(descriptors(), before);
}
END_TEST

START_TEST(a_limit_on_file_size_is_no_signal) {
    struct rlimit before, none;
    getrlimit(RLIMIT_FSIZE, &before);
    none = (struct rlimit){ 0, before.rlim_max };
    setrlimit(RLIMIT_FSIZE, &none);
    int error = counters_open(false);
    setrlimit(RLIMIT_FSIZE, &before); /* Check writes a file, too */
    ck_assert_int_eq(error, -EFBIG);
    counter_bump(&counters_thread_begin()->allocs, 1);
    ck_assert_str_eq(counters_path(), "");
    ck_assert_uint_eq(counters_host_totals(counters).allocs, 1);
}
END_TEST

/* --- a file system that is full: a touched page that it cannot give is a SIGBUS. Needs root. */

static bool small_place(const char *size) {
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
    return mount("none", place, "tmpfs", 0, size) == 0 && mount("none", "/dev/shm", "tmpfs", 0, "size=4k") == 0;
}

START_TEST(a_small_file_system_is_no_error) {
    if (!small_place("size=4k")) return;
    unsetenv("XDG_RUNTIME_DIR"), unsetenv("TMPDIR");
    ck_assert_int_lt(counters_open(false), 0);
    ck_assert_str_eq(counters_path(), "");
    for (int i = 0; i < COUNTER_DEVICES; i++) counter_set(&counters->device[i].claimed_bytes, 1);
    for (int i = 0; i < COUNTER_THREADS; i++) counter_bump(&counters_thread_begin()->allocs, 1);
    ck_assert_uint_eq(counters_host_totals(counters).allocs, COUNTER_THREADS);
}
END_TEST

START_TEST(threads_find_slots_when_the_file_cannot_grow) {
    char size[32];
    snprintf(size, sizeof size, "size=%zuk", offsetof(struct counters, thread) / 1024 + 12); /* the folder takes none, the file two steps */
    if (!small_place(size)) return;
    ck_assert_int_eq(counters_open(false), 0);
    ck_assert(in_our_place());
    for (int i = 0; i < COUNTER_DEVICES; i++) counter_set(&counters->device[i].claimed_bytes, 1);
    for (int i = 0; i < COUNTER_THREADS; i++) counter_bump(&counters_thread_begin()->allocs, 1);
    ck_assert_uint_eq(counters_host_totals(counters).allocs, COUNTER_THREADS);
}
END_TEST

START_TEST(the_file_takes_little_while_few_threads_run) {
    struct stat s;
    ck_assert_int_eq(counters_open(false), 0);
    for (int i = 0; i < 64; i++) counter_bump(&counters_thread_begin()->allocs, 1);
    ck_assert_int_eq(stat(counters_path(), &s), 0);
    ck_assert_int_le(s.st_blocks * 512, (long)offsetof(struct counters, thread) + 8192);
}
END_TEST

/* --- fork and death */

static int child_status(pid_t child) {
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

START_TEST(a_child_counts_in_a_file_of_its_own) {
    ck_assert_int_eq(counters_open(false), 0);
    struct thread_counters *slot = counters_thread_begin();
    counter_bump(&slot->bytes_allocated, 1000), counter_bump(&slot->bytes_freed, 400), counter_bump(&slot->allocs, 3);
    counter_add(counters_call("call"), 5);
    counters_before_fork();
    pid_t child = fork();
    if (child == 0) {
        bool good = counters_open(true) == 0 && counter_get(&counters->pid) == (uint64_t)getpid();
        struct host_totals t = counters_host_totals(counters);
        good = good && t.allocs == 0 && t.live_bytes == 600 && counters_call("call") == &counters->call[0].calls && counter_get(&counters->call[0].calls) == 0;
        struct thread_counters *mine = counters_thread_begin();
        counter_bump(&mine->bytes_freed, 600), counter_bump(&mine->allocs, 100);
        good = good && counters_host_totals(counters).live_bytes == 0 && strstr(counters->command, "counters_test");
        _exit(good ? 0 : 1); /* its file stays, as after SIGKILL */
    }
    ck_assert_int_eq(child_status(child), 0);
    ck_assert_uint_eq(counters_host_totals(counters).allocs, 3);
    ck_assert_uint_eq(counters_host_totals(counters).live_bytes, 600);
    ck_assert_uint_eq(counter_get(&counters->call[0].calls), 5);
}
END_TEST

/* Even where it can have no file. */
START_TEST(a_child_never_writes_its_parents_file) {
    ck_assert_int_eq(counters_open(false), 0);
    struct thread_counters *slot = counters_thread_begin();
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_FSIZE, &none);
        counters_open(true);
        counter_bump(&slot->allocs, 100);
        counter_bump(&counters_thread_begin()->allocs, 100);
        _exit(counters_host_totals(counters).allocs == 200 ? 0 : 1);
    }
    ck_assert_int_eq(child_status(child), 0);
    ck_assert_uint_eq(counters_host_totals(counters).allocs, 0);
}
END_TEST

START_TEST(a_killed_process_leaves_its_numbers) {
    char path[300];
    int tell[2];
    ck_assert_int_eq(pipe(tell), 0);
    pid_t child = fork();
    if (child == 0) {
        counters_open(true);
        counter_bump(&counters_thread_begin()->allocs, 41);
        counter_bump(&counters_thread_begin()->allocs, 1);
        if (write(tell[1], counters_path(), 300) != 300) _exit(1);
        pause();
    }
    ck_assert_int_eq(read(tell[0], path, sizeof path), 300);
    kill(child, SIGKILL);
    ck_assert(WIFSIGNALED(child_status(child)));
    read_file(path, &seen);
    ck_assert_uint_eq(counters_host_totals(&seen).allocs, 42);
    ck_assert_uint_eq(counter_get(&seen.end_ns), 0);
}
END_TEST

START_TEST(only_the_process_that_opened_it_closes_the_file) {
    ck_assert_int_eq(counters_open(false), 0);
    pid_t child = fork();
    if (child == 0) {
        counters_close(false); /* as a vfork's child that leaves by _exit */
        _exit(0);
    }
    child_status(child);
    ck_assert_int_eq(access(counters_path(), F_OK), 0);
    ck_assert_uint_eq(counter_get(&counters->end_ns), 0);
    char path[300];
    strcpy(path, counters_path());
    counters_close(true);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_uint_gt(counter_get(&counters->end_ns), 0);
    counters_close(false);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* --- slots */

static void *count_a_while(void *unused) {
    (void)unused;
    for (int round = 0; round < 200; round++) {
        struct thread_counters *slot = counters_thread_begin();
        for (int i = 0; i < 100; i++) {
            if (counters_slot_is_shared(slot)) counter_add(&slot->allocs, 1);
            else counter_bump(&slot->allocs, 1);
        }
        counters_thread_end(slot);
    }
    return NULL;
}

START_TEST(threads_that_come_and_go_lose_no_count) {
    pthread_t threads[16];
    ck_assert_int_eq(counters_open(false), 0);
    for (int i = 0; i < 16; i++) pthread_create(&threads[i], NULL, count_a_while, NULL);
    for (int i = 0; i < 16; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(counters_host_totals(counters).allocs, 16 * 200 * 100);
    ck_assert_uint_le(counter_get(&counters->threads_ready), 64);
}
END_TEST

START_TEST(more_threads_than_slots_share_one) {
    for (int i = 0; i < COUNTER_THREADS; i++) ck_assert(!counters_slot_is_shared(counters_thread_begin()));
    struct thread_counters *shared = counters_thread_begin();
    ck_assert(counters_slot_is_shared(shared));
    counters_thread_end(shared);
    counters_thread_end(&counters->thread[500]);
    ck_assert_ptr_eq(counters_thread_begin(), &counters->thread[500]);
}
END_TEST

START_TEST(calls_are_counted_by_name_however_many) {
    char name[100];
    ck_assert_ptr_eq(counters_call("a"), counters_call("a"));
    ck_assert_ptr_ne(counters_call("a"), counters_call("ab"));
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "call%d", i);
        counter_add(counters_call(name), 1);
    }
    ck_assert_str_eq(counters->call[COUNTER_CALLS - 1].name, "others");
    ck_assert_uint_eq(counter_get(&counters->call[COUNTER_CALLS - 1].calls), 300 - (COUNTER_CALLS - 3));
}
END_TEST

START_TEST(long_names_are_cut_not_spilled) {
    char name[100];
    memset(name, 'x', 99), name[99] = 0;
    counter *call = counters_call(name);
    ck_assert_ptr_eq(call, counters_call(name));
    ck_assert_uint_eq(strlen(counters->call[0].name), COUNTER_CALL_NAME - 1);
    ck_assert_uint_eq(counter_get(call), 0);
}
END_TEST

START_TEST(more_freed_than_allocated_is_not_a_huge_number) {
    struct thread_counters *slot = counters_thread_begin();
    counter_bump(&slot->bytes_freed, 10);
    ck_assert_uint_eq(counters_host_totals(counters).live_bytes, 0);
}
END_TEST

START_TEST(a_devices_shards_are_added_up_and_cached_follows) {
    struct device_counters *d = &counters->device[0];
    counter_set(&d->claimed_bytes, 100), counter_set(&d->rounding_bytes, 28), counter_set(&d->reserved_bytes, 200);
    for (int i = 0; i < COUNTER_SHARDS; i++) counter_set(&d->shard[i].hits, 2), counter_set(&d->shard[i].allocs, 3);
    struct device_totals t = device_totals(d);
    ck_assert_uint_eq(t.hits, 2 * COUNTER_SHARDS);
    ck_assert_uint_eq(t.allocs, 3 * COUNTER_SHARDS);
    ck_assert_uint_eq(t.live_bytes + t.rounding_bytes + t.cached_bytes, t.reserved_bytes);
}
END_TEST

SUITE("counters", begin, end,
      what_is_counted_is_in_the_file, counts_made_before_the_file_are_kept_and_pointers_stay_good,
      the_folder_and_the_file_are_for_us_alone, a_folder_with_open_bits_is_left_alone,
      a_folder_that_is_a_link_is_left_alone, a_folder_of_somebody_else_is_left_alone, a_file_of_the_same_name_makes_way,
      a_link_in_the_files_place_is_not_followed, no_descriptor_and_no_errno_is_left_behind,
      a_limit_on_file_size_is_no_signal, a_small_file_system_is_no_error, threads_find_slots_when_the_file_cannot_grow,
      the_file_takes_little_while_few_threads_run, a_child_counts_in_a_file_of_its_own,
      a_child_never_writes_its_parents_file, a_killed_process_leaves_its_numbers,
      only_the_process_that_opened_it_closes_the_file, threads_that_come_and_go_lose_no_count,
      more_threads_than_slots_share_one, calls_are_counted_by_name_however_many, long_names_are_cut_not_spilled,
      more_freed_than_allocated_is_not_a_huge_number, a_devices_shards_are_added_up_and_cached_follows)
