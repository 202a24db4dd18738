/* target_test.c: where dumps go: COPPICE_STATS_FILE, else standard error; files, links, pipes, and what cannot be written. */
#include "dump_test.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char buffer[DUMP_CAPACITY];

/* --- files */

static void write_to(const char *name) {
    setenv("COPPICE_STATS_FILE", name, 1);
    setenv("COPPICE_STATS_FORMAT", "json", 1);
    options_load();
    if (!counters_path()[0]) ck_assert_int_eq(counters_open(false), 0);
    dump_triggers();
    dump_write();
}

static size_t content(const char *name) {
    FILE *f = fopen(name, "r");
    if (!f) return 0;
    size_t n = fread(buffer, 1, sizeof buffer - 1, f);
    buffer[n] = 0;
    fclose(f);
    return n;
}

static unsigned files(void) {
    char command[128];
    snprintf(command, sizeof command, "exit $(find %s -maxdepth 1 -type f | wc -l)", folder);
    return (unsigned)WEXITSTATUS(system(command));
}

START_TEST(percent_p_is_the_process) {
    char name[160], expected[160];
    snprintf(name, sizeof name, "%s/a%%p%%%%%%x", folder);
    snprintf(expected, sizeof expected, "%s/a%d%%%%x", folder, getpid());
    write_to(name);
    ck_assert_uint_gt(content(expected), 0);
    ck_assert_uint_eq(files(), 1);
}
END_TEST

START_TEST(a_relative_file_stays_where_the_program_started) {
    ck_assert_int_eq(chdir(folder), 0);
    setenv("COPPICE_STATS_FILE", "here", 1);
    options_load();
    counters_open(false);
    dump_triggers();
    ck_assert_int_eq(chdir("/"), 0);
    dump_write();
    snprintf(file, sizeof file, "%s/here", folder);
    ck_assert_uint_gt(content(file), 0);
}
END_TEST

static atomic_bool done;
static void *read_over_and_over(void *unused) {
    static char seen[DUMP_CAPACITY];
    (void)unused;
    for (unsigned reads = 0; !done || reads == 0; reads++) {
        int fd = open(file, O_RDONLY);
        if (fd < 0) continue;
        ssize_t n = read(fd, seen, sizeof seen);
        close(fd);
        if (n < 10 || seen[0] != '{' || strncmp(seen + n - 3, "}}\n", 3) != 0) return (void *)"half a dump";
    }
    return NULL;
}

START_TEST(a_reader_sees_a_whole_dump_always) {
    pthread_t reader;
    void *wrong;
    write_to(file);
    pthread_create(&reader, NULL, read_over_and_over, NULL);
    for (int i = 0; i < 500; i++) dump_write();
    done = true;
    pthread_join(reader, &wrong);
    ck_assert_msg(!wrong, "%s", (char *)wrong);
    ck_assert_uint_eq(files(), 1);
}
END_TEST

START_TEST(a_link_is_replaced_and_its_target_left_alone) {
    char target[160];
    struct stat s;
    snprintf(target, sizeof target, "%s/target", folder);
    FILE *f = fopen(target, "w");
    fputs("precious", f), fclose(f);
    ck_assert_int_eq(symlink(target, file), 0);
    write_to(file);
    ck_assert_uint_eq(content(target), 8);
    ck_assert_int_eq(lstat(file, &s), 0);
    ck_assert(S_ISREG(s.st_mode));
}
END_TEST

START_TEST(a_device_or_pipe_is_never_replaced) {
    struct stat s;
    ck_assert_int_eq(mkfifo(file, 0600), 0);
    int reader = open(file, O_RDONLY | O_NONBLOCK);
    write_to(file);
    ck_assert_int_eq(lstat(file, &s), 0);
    ck_assert(S_ISFIFO(s.st_mode));
    ck_assert_int_gt(read(reader, buffer, 4096), 100);
    write_to("/dev/null");
    ck_assert_int_eq(lstat("/dev/null", &s), 0);
    ck_assert(S_ISCHR(s.st_mode));
}
END_TEST

static void write_there(void) { write_to(file), dump_write(), dump_write(); }

START_TEST(what_cannot_be_written_is_said_once) {
    strcpy(file, "/nonexistent/folder/file");
    errno = 4711;
    const char *said = said_by(write_there);
    ck_assert_int_eq(errno, 4711);
    ck_assert_str_eq(said, "coppice: statistics cannot be written to /nonexistent/folder/file: No such file or directory\n");
}
END_TEST

START_TEST(a_limit_on_file_size_is_no_signal) {
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){ 100, before.rlim_max };
    ck_assert_int_eq(counters_open(false), 0);
    setrlimit(RLIMIT_FSIZE, &small);
    int kept = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    write_to(file);
    dup2(kept, 2);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

/* --- standard error */

static void write_to_stderr(void) { write_to(""); }

START_TEST(standard_error_is_the_default) {
    ck_assert_int_eq(said_by(write_to_stderr)[0], '{');
}
END_TEST

START_TEST(a_file_that_took_the_place_of_standard_error_stays_clean) {
    log_remember_stderr();
    int kept = dup(2);
    close(2);
    ck_assert_int_eq(open(file, O_RDWR | O_CREAT, 0600), 2);
    write_to("");
    dup2(kept, 2);
    ck_assert_uint_eq(content(file), 0);
}
END_TEST

/* Standard error becomes `fd`, a dump is written: how long did it take? Signals have their default: SIGPIPE kills. */
static uint64_t milliseconds_into(int fd) {
    int kept = dup(2);
    signal(SIGPIPE, SIG_DFL);
    dup2(fd, 2);
    uint64_t start = clock_ns();
    write_to("");
    uint64_t took = (clock_ns() - start) / 1000000;
    dup2(kept, 2), close(kept);
    return took;
}

/* Names enough for a dump that is larger than a pipe. */
static void count_many_calls(void) {
    char name[COUNTER_CALL_NAME];
    for (int i = 0; i < COUNTER_CALLS - 1; i++) {
        memset(name, 1, sizeof name - 1), name[sizeof name - 1] = 0, name[0] = (char)('A' + i / 26), name[1] = (char)('A' + i % 26);
        counter_set(counters_call(name), UINT64_MAX);
    }
}

START_TEST(a_pipe_that_fills_up_holds_us_up_for_a_second_at_most) {
    int ends[2];
    count_many_calls();
    ck_assert_int_eq(pipe(ends), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], buffer, 4096) > 0) {}
    fcntl(ends[1], F_SETFL, 0);
    ck_assert_int_eq(read(ends[0], buffer, 4096), 4096); /* room for a first part only */
    uint64_t took = milliseconds_into(ends[1]);
    ck_assert_msg(took >= 900 && took < 1500, "%llu ms", (unsigned long long)took);
}
END_TEST

START_TEST(a_pipe_without_a_reader_is_no_signal) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert_uint_lt(milliseconds_into(ends[1]), 500);
    sigset_t pending;
    sigpending(&pending);
    ck_assert(!sigismember(&pending, SIGPIPE));
}
END_TEST

START_TEST(a_large_dump_goes_through_a_slow_pipe_whole) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    count_many_calls();
    pid_t reader = fork();
    if (reader == 0) {
        size_t total = 0;
        close(ends[1]);
        for (ssize_t n; (n = read(ends[0], buffer, 1000)) > 0; total += (size_t)n) usleep(500);
        _exit(total > 65536 && buffer[0] ? 0 : 1);
    }
    milliseconds_into(ends[1]);
    close(ends[1]);
    int status;
    waitpid(reader, &status, 0);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_process_that_did_not_open_the_counters_dumps_nothing) {
    write_to(file);
    unlink(file);
    pid_t child = fork();
    if (child == 0) {
        dump_write(); /* as a vfork's child would at _exit */
        _exit(0);
    }
    waitpid(child, NULL, 0);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

SUITE("target", begin, end, percent_p_is_the_process, a_relative_file_stays_where_the_program_started, a_reader_sees_a_whole_dump_always,
      a_link_is_replaced_and_its_target_left_alone, a_device_or_pipe_is_never_replaced, what_cannot_be_written_is_said_once,
      a_limit_on_file_size_is_no_signal, standard_error_is_the_default, a_file_that_took_the_place_of_standard_error_stays_clean,
      a_pipe_that_fills_up_holds_us_up_for_a_second_at_most, a_pipe_without_a_reader_is_no_signal, a_large_dump_goes_through_a_slow_pipe_whole,
      a_process_that_did_not_open_the_counters_dumps_nothing)
