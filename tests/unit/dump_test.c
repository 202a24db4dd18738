/* dump_test.c: dumps as text and JSON. triggers_test.c is when they are made, target_test.c where they go. */
#include "dump_test.h"
#include "base/hints.h"
#include "stats/format.h"
#include <signal.h>
#include <sys/wait.h>

static char buffer[DUMP_CAPACITY];
static struct counters made; /* a process that is not this one */

static void begin_another(void) {
    begin();
    made.version = 100;
    counter_set(&made.pid, 4000000);
}

static const char *dumped(enum stats_format format) {
    struct text t = text_in(buffer, sizeof buffer);
    dump_counters(&made, format, false, &t);
    ck_assert(!t.full);
    return buffer;
}
#define has(what) ck_assert_msg(strstr(json, what), "%s not in %s", what, json)
#define has_not(what) ck_assert_msg(!strstr(json, what), "%s in %s", what, json)

START_TEST(fixed_names_are_all_there) {
    struct device_counters *d = &made.device[5];
    counter_set(&d->in_use, 1), counter_set(&d->id, 5), counter_set(&d->claimed_bytes, 300), counter_set(&d->reserved_bytes, 400);
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
        counter_set(&d->in_use, 1), counter_set(&d->claimed_bytes, live), counter_set(&d->reserved_bytes, reserved);
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
    counter_set(&d->in_use, 1), counter_set(&d->claimed_bytes, 1000);
    const char *json = dumped(STATS_JSON);
    has("\"kv_live_bytes\":0");
    has_not("kv_share");
    kv_changed(&d->kv, 300, 10 * minute);
    kv_changed(&d->kv, 100, 10 * minute + 1);
    ck_assert_int_eq(kv_growth(&d->kv, 10 * minute + 2), 400);
    json = dumped(STATS_JSON);
    has("\"kv_live_bytes\":400,\"kv_peak_live_bytes\":400,\"kv_allocs\":2");
    has("\"kv_share\":0.4000,\"kv_growth_bytes\":400");
    kv_changed(&d->kv, -100, 11 * minute + 5);
    ck_assert_int_eq(kv_growth(&d->kv, 11 * minute + 6), 300); /* against ten minutes and the start */
    ck_assert_int_eq(kv_growth(&d->kv, 12 * minute + 6), -100);
    ck_assert_int_eq(kv_growth(&d->kv, 14 * minute), 0);
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

SUITE("dump", begin_another, end, fixed_names_are_all_there, the_interner_is_in_it_once_it_was_asked, trees_of_membranes_are_in_it_once_they_are_made,
      what_cannot_be_known_is_absent, a_device_whose_sum_does_not_hold_is_found_in_debug_builds, a_live_process_tells_what_the_kernel_knows,
      percentiles_lie_in_the_bucket_of_their_rank, json_parses_for_hostile_names_and_numbers, text_stays_on_its_lines, the_worst_dump_fits,
      sites_are_shown_with_the_reason_of_their_type, the_largest_sites_are_shown_and_the_others_counted,
      frees_of_what_the_parent_allocated_do_not_show_as_live, key_value_cache_has_its_own_line)
