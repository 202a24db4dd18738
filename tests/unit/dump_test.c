/* dump_test.c: dumps as text and JSON, when they are made and where they go. */
#include "stats/dump.h"
#include "base/clock.h"
#include "base/hints.h"
#include "base/log.h"
#include "stats/format.h"
#include "stats/target.h"
#include "suite.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], file[128], buffer[DUMP_CAPACITY];
static struct counters made; /* a process that is not this one */

static void begin(void) {
    strcpy(folder, "/tmp/dump_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/stats", folder);
    setenv("COPPICE_STATE_DIR", folder, 1);
    made.version = 100;
    counter_set(&made.pid, 4000000);
}

static void end(void) {
    char command[128];
    counters_close(false);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char *dumped(enum stats_format format) {
    struct text t = text_in(buffer, sizeof buffer);
    dump_counters(&made, format, false, &t);
    ck_assert(!t.full);
    return buffer;
}
#define has(what) ck_assert_msg(strstr(json, what), "%s not in %s", what, json)
#define has_not(what) ck_assert_msg(!strstr(json, what), "%s in %s", what, json)

/* --- what is in it */

START_TEST(fixed_names_are_all_there) {
    struct device_counters *d = &made.device[5];
    counter_set(&d->in_use, 1), counter_set(&d->id, 5), counter_set(&d->live_bytes, 300), counter_set(&d->reserved_bytes, 400);
    counter_set(&d->shard[2].hits, 3), counter_set(&d->misses, 1), counter_set(&d->hit_ns[20], 1);
    counter_set(&made.start_ns, 1), counter_set(&made.end_ns, 1500000001);
    counter_set(&made.host.published_ns, 1), counter_set(&made.host.resident_bytes, 4096), counter_set(&made.host.peak_resident_bytes, 8192);
    counter_set(&made.late.allocs, 9);
    strcpy(made.call[0].name, "cuUsed"), counter_set(&made.call[0].calls, 2);
    strcpy(made.call[1].name, "cuUnused");
    const char *json = dumped(STATS_JSON);
    static const char *const names[] = {
        "version", "pid", "command", "uptime_s", "device", "host", "id", "name", "context", "live_bytes", "rounding_bytes", "cached_bytes", "reserved_bytes", "peak_live_bytes",
        "peak_reserved_bytes", "allocs", "frees", "hits", "misses", "efficiency", "hit_rate", "driver_allocs", "driver_frees", "trims", "oom_recoveries", "foreign_frees",
        "tainted_blocks", "hit_ns_p50", "hit_ns_p99", "resident_bytes", "peak_resident_bytes", "calls",
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char key[64];
        snprintf(key, sizeof key, "\"%s\":", names[i]);
        has(key);
    }
    has("\"version\":\"0.1.0\""), has("\"uptime_s\":1.500"), has("\"state\":\"ended\"");
    has("\"efficiency\":0.7500"), has("\"hit_rate\":0.7500"), has("\"cached_bytes\":100"), has("\"calls\":{\"cuUsed\":2}");
    has_not("intern"), has_not("dtesn"), has_not("pressure"), has_not("sites");
}
END_TEST

START_TEST(the_interner_is_in_it_once_it_was_asked) {
    counter_set(&made.intern.entries, 2), counter_set(&made.intern.bytes_added, 300);
    const char *json = dumped(STATS_JSON);
    has_not("intern");
    counter_set(&made.late.intern_lookups, 8), counter_set(&made.late.intern_hits, 6), counter_set(&made.late.intern_bytes_in, 1000);
    counter_set(&made.thread[3].intern_lookups, 4), counter_set(&made.thread[3].intern_hits, 3); /* a slot that is not ready says nothing */
    json = dumped(STATS_JSON);
    static const char *const names[] = { "entries", "lookups", "hits", "dedup_rate", "bytes_in", "bytes_stored", "evictions", "expired", "bytes_saved" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char key[64];
        snprintf(key, sizeof key, "\"%s\":", names[i]);
        ck_assert_msg(strstr(strstr(json, "\"intern\""), key), "%s not in %s", key, json);
    }
    has("\"lookups\":8,\"hits\":6,\"dedup_rate\":0.7500"), has("\"bytes_saved\":700"), has_not("pages_shared");
    json = dumped(STATS_TEXT);
    has("intern     entries 2 lookups 8 hits 75.0%");
}
END_TEST

START_TEST(trees_of_membranes_are_in_it_once_they_are_made) {
    counter_set(&made.tree[0].depth, 1); /* not in use: says nothing */
    const char *json = dumped(STATS_JSON);
    has_not("dtesn");
    struct dtesn_counters *host = &made.tree[0], *device = &made.tree[3];
    counter_set(&host->in_use, 1), counter_set(&host->depth, 2), counter_set(&host->limit_bytes, 1000), counter_set(&host->borrowed_allocations, 4);
    counter_set(&host->level[0].membranes, 1), counter_set(&host->level[0].budget_bytes, 1000);
    counter_set(&host->level[1].membranes, 1), counter_set(&host->level[1].budget_bytes, 500), counter_set(&host->level[1].held_bytes, 250), counter_set(&host->level[1].cached_bytes, 50);
    counter_set(&made.late.allocs, 9);
    counter_set(&device->in_use, 1), counter_set(&device->device, 7), counter_set(&device->depth, 1);
    counter_set(&device->level[0].held_bytes, 900), counter_set(&device->level[0].rounding_bytes, 20);
    counter_set(&made.device[1].in_use, 1), counter_set(&made.device[1].id, 7), counter_set(&made.device[2].in_use, 1), counter_set(&made.device[2].id, 8);
    counter_set(&made.cells[1].shard[0].cell[2][0].live_bytes, 500), counter_set(&made.cells[1].shard[9].cell[2][0].live_bytes, (uint64_t)-100);
    counter_set(&made.cells[1].shard[0].cell[2][0].allocs, 3), counter_set(&made.cells[2].shard[0].cell[2][0].live_bytes, 77);
    json = dumped(STATS_JSON);
    has("\"dtesn\":{\"host\":{\"limit_bytes\":1000,\"depth\":2,\"borrowed_allocations\":4,"), has("\"compliant_allocations\":5");
    has("{\"level\":1,\"membranes\":1,\"budget_bytes\":1000,\"used_bytes\":0,\"cached_bytes\":0,\"utilization\":0.2500}");
    has("{\"level\":2,\"membranes\":1,\"budget_bytes\":500,\"used_bytes\":200,\"cached_bytes\":50,\"utilization\":0.5000}");
    has("\"devices\":[{\"id\":7,"), has("\"used_bytes\":420,\"cached_bytes\":480"), has("\"procedural\":{\"live_bytes\":400,\"allocs\":3}");
    json = dumped(STATS_TEXT);
    has("dtesn host limit 1000 B depth 2 compliant 5 borrowed 4"), has("dtesn device 7"), has("procedural 400 B allocs 3");
    counter_set(&host->depth, UINT64_MAX); /* somebody else's file */
    json = dumped(STATS_JSON);
    has("\"depth\":12,");
}
END_TEST

START_TEST(what_cannot_be_known_is_absent) {
    counter_set(&made.device[0].in_use, 1);
    const char *json = dumped(STATS_JSON);
    has("\"state\":\"gone\"");
    has_not("uptime_s"), has_not("resident_bytes"), has_not("efficiency"), has_not("hit_rate"), has_not("hit_ns_p");
    ck_assert_msg(!strstr(strstr(json, "\"host\""), "rounding_bytes"), "%s", json);
    ck_assert_msg(!strstr(strstr(json, "\"host\""), "cached_bytes"), "%s", json);
    json = dumped(STATS_TEXT);
    has_not("resident"), has_not("p50"), has_not("%");
}
END_TEST

/* reserved = live + rounding + cached is checked, in debug builds, and never forced. */
static int status_of_dump(uint64_t live, uint64_t reserved) {
    pid_t child = fork();
    if (child == 0) {
        close(2);
        struct device_counters *d = &counters->device[0];
        counter_set(&d->in_use, 1), counter_set(&d->live_bytes, live), counter_set(&d->reserved_bytes, reserved);
        struct text t = text_in(buffer, sizeof buffer);
        dump_counters(counters, STATS_JSON, true, &t);
        char want[64];
        snprintf(want, sizeof want, "\"reserved_bytes\":%llu", (unsigned long long)reserved);
        _exit(strstr(buffer, want) ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    return status;
}

START_TEST(a_device_whose_sum_does_not_hold_is_found_in_debug_builds) {
    ck_assert_int_eq(status_of_dump(100, 100), 0);
    int status = status_of_dump(100, 99);
    if (DEBUG_BUILD) ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    else ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_live_process_tells_what_the_kernel_knows) {
    ck_assert_int_eq(counters_open(false), 0);
    struct text t = text_in(buffer, sizeof buffer);
    dump_counters(counters, STATS_JSON, true, &t);
    const char *json = buffer;
    has("\"resident_bytes\":"), has("\"peak_resident_bytes\":"), has("\"uptime_s\":"), has("\"state\":\"running\"");
}
END_TEST

START_TEST(percentiles_lie_in_the_bucket_of_their_rank) {
    struct device_counters *d = &made.device[0];
    uint64_t ns;
    ck_assert(!hit_percentile(d, 50, &ns));
    counter_set(&d->hit_ns[24], 98), counter_set(&d->hit_ns[40], 2); /* from 64 and from 1024 ns */
    ck_assert(hit_percentile(d, 50, &ns));
    ck_assert_msg(ns >= 64 && ns <= 77, "%llu", (unsigned long long)ns);
    ck_assert(hit_percentile(d, 98, &ns));
    ck_assert_msg(ns >= 64 && ns <= 77, "%llu", (unsigned long long)ns);
    ck_assert(hit_percentile(d, 99, &ns));
    ck_assert_msg(ns >= 1024 && ns <= 1218, "%llu", (unsigned long long)ns);
    for (int b = 0; b < COUNTER_HIT_BUCKETS; b++) counter_set(&d->hit_ns[b], UINT64_MAX);
    hit_percentile(d, 99, &ns); /* nonsense from a file, but no trap */
}
END_TEST

/* --- JSON that parses, whatever programs are called */

static void random_bytes(char *to, size_t n) {
    static uint64_t state = 20240229;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        to[i] = (char)(state >> 56);
        if (to[i] == 0) to[i] = '"';
    }
    to[n - 1] = 0;
}

START_TEST(json_parses_for_hostile_names_and_numbers) {
    FILE *f = fopen(file, "w");
    char program[512];
    for (int round = 0; round < 300; round++) {
        random_bytes(made.command, sizeof made.command);
        random_bytes((char *)made.device, sizeof made.device);
        for (int i = 0; i < COUNTER_DEVICES; i++) made.device[i].name[sizeof made.device[i].name - 1] = 0;
        for (int i = 0; i < COUNTER_CALLS; i++) random_bytes(made.call[i].name, COUNTER_CALL_NAME), counter_set(&made.call[i].calls, UINT64_MAX);
        random_bytes((char *)&made.host, sizeof made.host);
        random_bytes((char *)&made.late, sizeof made.late);
        random_bytes((char *)made.site, sizeof made.site), counter_set(&made.sites_used, (uint64_t)round);
        for (int i = 0; i < COUNTER_SITES; i++) {
            struct site_counters *n = &made.site[i];
            n->name[sizeof n->name - 1] = n->function[sizeof n->function - 1] = n->rule[sizeof n->rule - 1] = 0;
        }
        fputs(dumped(STATS_JSON), f);
    }
    fclose(f);
    snprintf(program, sizeof program,
             "python3 -c \"import json\nlines = open('%s', 'rb').read().split(b'\\n')[:-1]\nassert len(lines) == 300, len(lines)\n"
             "for line in lines: json.loads(line.decode('utf-8', 'strict'))\"", file);
    ck_assert_int_eq(system(program), 0);
}
END_TEST

START_TEST(text_stays_on_its_lines) {
    strcpy(made.command, "evil\n  host live 0\x1b[2J");
    const char *text = dumped(STATS_TEXT);
    unsigned lines = 0;
    for (const char *s = text; *s; s++) lines += *s == '\n', ck_assert(*s == '\n' || (unsigned char)*s >= 0x20);
    ck_assert_uint_eq(lines, 2);
}
END_TEST

static struct site_counters *a_site(unsigned i, const char *name, uint64_t live) {
    struct site_counters *n = &made.site[i];
    strcpy(n->name, name);
    counter_set(&n->in_use, 1), counter_set(&n->live_bytes, live), counter_set(&n->allocs, 7), counter_set(&n->api, 5);
    if (i >= counter_get(&made.sites_used)) counter_set(&made.sites_used, i + 1);
    return n;
}

START_TEST(sites_are_shown_with_the_reason_of_their_type) {
    struct site_counters *n = a_site(0, "libsmall.so+0x10", 100);
    counter_set(&n->type, 1), counter_set(&n->reason, 4), counter_set(&n->observations, 32), counter_set(&n->api, 0);
    n = a_site(2, "liblarge.so+0x20", 5000);
    counter_set(&n->type, 3), counter_set(&n->reason, 2), counter_set(&n->api, 5), counter_set(&n->kv, 1), strcpy(n->rule, "liblarge*=semantic+kv");
    const char *json = dumped(STATS_JSON);
    has("\"sites\":[{\"name\":\"liblarge.so+0x20\",\"api\":\"cudaMalloc\",\"least_bytes\":0,\"type\":\"semantic\",\"kv\":true,\"reason\":\"rule\","
        "\"rule\":\"liblarge*=semantic+kv\",\"live_bytes\":5000,");
    has("\"type\":\"episodic\",\"reason\":\"learned\",\"observations\":32,\"allocs\":7,\"bytes\":0}");
    has("\"sites_left_out\":0");
    const char *text = dumped(STATS_TEXT);
    ck_assert_ptr_nonnull(strstr(text, "liblarge.so+0x20 cudaMalloc: semantic kv live 4.8 KiB"));
    ck_assert_ptr_nonnull(strstr(text, "by learned from 32 observations"));
}
END_TEST

START_TEST(the_largest_sites_are_shown_and_the_others_counted) {
    for (unsigned i = 0; i < 300; i++) a_site(i, "lib.so+0x1", 1000 + (i * 7919) % 300);
    const char *json = dumped(STATS_JSON);
    has("\"sites_left_out\":172");
    has("\"live_bytes\":1299,");
    has("\"live_bytes\":1172,");
    has_not("\"live_bytes\":1171,");
    ck_assert(strstr(json, ":1299,") < strstr(json, ":1298,"));
}
END_TEST

START_TEST(frees_of_what_the_parent_allocated_do_not_show_as_live) {
    a_site(0, "lib.so+0x1", (uint64_t)-4096);
    const char *json = dumped(STATS_JSON);
    has("\"reason\":\"default\",\"live_bytes\":0,");
}
END_TEST

START_TEST(key_value_cache_has_its_own_line) {
    struct device_counters *d = &made.device[0];
    const uint64_t minute = 60000000000u;
    counter_set(&d->in_use, 1), counter_set(&d->live_bytes, 1000);
    const char *json = dumped(STATS_JSON);
    has("\"kv_live_bytes\":0");
    has_not("kv_share");
    device_kv_changed(d, 300, 10 * minute);
    device_kv_changed(d, 100, 10 * minute + 1);
    ck_assert_int_eq(device_kv_growth(d, 10 * minute + 2), 400);
    json = dumped(STATS_JSON);
    has("\"kv_live_bytes\":400,\"kv_peak_live_bytes\":400,\"kv_allocs\":2");
    has("\"kv_share\":0.4000,\"kv_growth_bytes\":400");
    device_kv_changed(d, -100, 11 * minute + 5);
    ck_assert_int_eq(device_kv_growth(d, 11 * minute + 6), 300); /* against ten minutes and the start */
    ck_assert_int_eq(device_kv_growth(d, 12 * minute + 6), -100);
    ck_assert_int_eq(device_kv_growth(d, 14 * minute), 0);
    ck_assert_ptr_nonnull(strstr(dumped(STATS_TEXT), "kv cache live 300 B of live 30.0% peak 400 B allocs 2 "));
}
END_TEST

START_TEST(the_worst_dump_fits) {
    memset(made.command, 1, sizeof made.command - 1);
    for (int i = 0; i < COUNTER_DEVICES; i++) {
        memset(&made.device[i], 0xff, sizeof made.device[i]);
        memset(made.device[i].name, 1, sizeof made.device[i].name - 1);
        made.device[i].name[sizeof made.device[i].name - 1] = 0;
    }
    for (int i = 0; i < COUNTER_CALLS; i++) memset(made.call[i].name, 1, COUNTER_CALL_NAME - 1), counter_set(&made.call[i].calls, UINT64_MAX);
    memset(made.site, 1, sizeof made.site), counter_set(&made.sites_used, UINT64_MAX);
    for (int i = 0; i < COUNTER_SITES; i++) {
        struct site_counters *n = &made.site[i];
        n->name[sizeof n->name - 1] = n->function[sizeof n->function - 1] = n->rule[sizeof n->rule - 1] = 0;
        counter_set(&n->allocs, UINT64_MAX), counter_set(&n->live_bytes, i % 2 ? INT64_MAX : UINT64_MAX), counter_set(&n->bytes, UINT64_MAX);
    }
    dumped(STATS_JSON);
    dumped(STATS_TEXT);
}
END_TEST

/* --- when */

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

/* Runs `call` with standard error in a file; returns what was written there. */
static const char *said_by(void (*call)(void)) {
    static char said[4096];
    FILE *kept = tmpfile();
    int before = dup(2);
    dup2(fileno(kept), 2);
    call();
    dup2(before, 2), close(before);
    rewind(kept);
    said[fread(said, 1, sizeof said - 1, kept)] = 0;
    fclose(kept);
    return said;
}
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

/* --- where */

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

SUITE("dump", begin, end,
      fixed_names_are_all_there, the_interner_is_in_it_once_it_was_asked, trees_of_membranes_are_in_it_once_they_are_made, what_cannot_be_known_is_absent,
      a_device_whose_sum_does_not_hold_is_found_in_debug_builds, a_live_process_tells_what_the_kernel_knows,
      percentiles_lie_in_the_bucket_of_their_rank, json_parses_for_hostile_names_and_numbers, text_stays_on_its_lines,
      the_worst_dump_fits, sites_are_shown_with_the_reason_of_their_type, the_largest_sites_are_shown_and_the_others_counted,
      frees_of_what_the_parent_allocated_do_not_show_as_live, key_value_cache_has_its_own_line, the_list_of_triggers_is_read_exactly, signals_have_names_and_numbers, unset_is_the_signal_only,
      empty_is_nothing, a_wrong_trigger_or_signal_is_one_line_each, percent_p_is_the_process,
      a_relative_file_stays_where_the_program_started, a_reader_sees_a_whole_dump_always,
      a_link_is_replaced_and_its_target_left_alone, a_device_or_pipe_is_never_replaced, what_cannot_be_written_is_said_once,
      a_limit_on_file_size_is_no_signal, standard_error_is_the_default,
      a_file_that_took_the_place_of_standard_error_stays_clean, a_pipe_that_fills_up_holds_us_up_for_a_second_at_most,
      a_pipe_without_a_reader_is_no_signal, a_large_dump_goes_through_a_slow_pipe_whole,
      a_process_that_did_not_open_the_counters_dumps_nothing)
