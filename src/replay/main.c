/* main.c: coppice-replay's arguments and what it prints; see replay.h. */
#include "base/options.h"
#include "base/version.h"
#include "replay/replay.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK, FAILED, MISUSE };

const char tool_name[] = "coppice-replay";

static const char usage[] =
    "coppice-replay [OPTIONS] FILE    drives the device pool with a trace (COPPICE_TRACE) and says what it took\n"
    "\n"
    "  --backend NAME        block (default) or page: the same as --device-backend=NAME\n"
    "  --device N            the device that stands for the trace's first (default 0)\n"
    "  --driver NAME         the CUDA driver: a library, or `sim`, the simulated device of a build (default libcuda.so.1)\n"
    "  --pace                at the recorded times, not as fast as possible\n"
    "  --work                the device writes to every new allocation, so that frees wait for it\n"
    "  --no-sync             leave out the program's waits for the device\n"
    "  --json                one JSON object\n"
    "  --from-snapshot       FILE is a PyTorch memory snapshot (a pickle; read as plain data, never run)\n"
    "  --save TRACE          with --from-snapshot: keep the trace\n"
    "  --OPTION=VALUE        an option of Coppice, such as --pool-max=2G; `coppice options` lists them\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0, 1 (the trace or the device cannot be used), 2 (a wrong argument). docs/TRACE.md has the format.\n";

struct request {
    const char *file, *save;
    bool json, snapshot;
    struct drive_options drive;
};

/* --NAME=VALUE, an option of the library. */
static int set_option(const char *word) {
    const char *name = word + 2, *equals = strchr(name, '=');
    char variable[64], buffer[160];
    union option_value parsed;
    int id = equals ? option_find(name, (size_t)(equals - name)) : -1;
    if (id < 0) return complain(MISUSE, "%s is not an option; `coppice-replay --help` lists them", word);
    if (!option_parse(&option_rows[id], equals + 1, &parsed))
        return complain(MISUSE, "%s is not accepted: expected %s", word, option_accepts(&option_rows[id], buffer, sizeof buffer));
    snprintf(variable, sizeof variable, OPTION_PREFIX "%s", option_rows[id].name);
    return setenv(variable, equals + 1, 1) == 0 ? OK : complain(FAILED, "no memory");
}

static int set_backend(const char *value) {
    char word[64];
    snprintf(word, sizeof word, "--device-backend=%s", value ? value : "");
    return set_option(word);
}

/* The word of a request that takes a value, or NULL. */
static const char **text_of(struct request *r, const char *word) {
    if (strcmp(word, "--driver") == 0) return &r->drive.library;
    if (strcmp(word, "--save") == 0) return &r->save;
    return NULL;
}

static bool *switch_of(struct request *r, const char *word) {
    const struct { const char *word; bool *value; } switches[] = {
        { "--json", &r->json }, { "--from-snapshot", &r->snapshot }, { "--pace", &r->drive.pace }, { "--work", &r->drive.work },
    };
    for (unsigned i = 0; i < sizeof switches / sizeof *switches; i++)
        if (strcmp(switches[i].word, word) == 0) return switches[i].value;
    return NULL;
}

static int set_device(struct request *r, const char *value) {
    char *end;
    long n = value ? strtol(value, &end, 10) : -1;
    if (!value || !*value || *end || n < 0 || n > 255)
        return complain(MISUSE, "--device %s is not accepted: expected a number from 0 to 255", value ? value : "");
    r->drive.device = (int)n;
    return OK;
}

static int take_word(struct request *r, const char *word, const char *value, int *used) {
    const char **text = text_of(r, word);
    bool *flag = switch_of(r, word);
    *used = 1;
    if (flag) return *flag = true, OK;
    if (strcmp(word, "--no-sync") == 0) return r->drive.sync = false, OK;
    bool device = strcmp(word, "--device") == 0, backend = strcmp(word, "--backend") == 0;
    if (text || device || backend) {
        *used = 2;
        if (device) return set_device(r, value);
        if (backend) return set_backend(value);
        if (!value) return complain(MISUSE, "%s wants a value", word);
        return *text = value, OK;
    }
    if (strncmp(word, "--", 2) == 0) return set_option(word);
    if (word[0] == '-' && word[1]) return complain(MISUSE, "%s is not an option; `coppice-replay --help` lists them", word);
    if (r->file) return complain(MISUSE, "one trace at a time: %s and %s", r->file, word);
    return r->file = word, OK;
}

/* `sim`: the driver beside this program, in a build. */
static const char *driver_named(const char *name) {
    static char path[PATH_MAX + 32];
    if (strcmp(name, "sim") != 0) return name;
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
    char *slash = n > 0 ? (path[n] = 0, strrchr(path, '/')) : NULL;
    if (!slash) return name;
    strcpy(slash, "/sim/libcuda.so.1");
    return path;
}

/* FIGURE(name, value): what --json prints, all numbers; docs/TRACE.md has their meaning. */
#define FIGURES(X) \
    X(events, t->count) X(dropped, t->dropped) X(others, d->others) \
    X(allocs, d->allocs) X(frees, d->frees) X(failed, d->failed) X(unknown_frees, d->unknown_frees) \
    X(peak_live_bytes, d->peak_live) X(peak_reserved_bytes, d->peak_reserved) \
    X(live_bytes, d->live) X(reserved_bytes, d->reserved) X(hits, d->hits) X(misses, d->misses) \
    X(driver_allocs, d->driver_allocs) X(driver_frees, d->driver_frees) \
    X(fences, d->fences) X(fence_waits, d->fence_waits) X(oom_recoveries, d->oom_recoveries)

static double ratio(uint64_t part, uint64_t whole) { return (double)part / (double)whole; }

static void print_json(const struct trace *t, const struct report *d) {
    printf("{\"version\":\"" COPPICE_VERSION "\"");
#define X(name, value) printf(",\"" #name "\":%" PRIu64, (uint64_t)(value));
    FIGURES(X)
#undef X
    if (d->peak_live) printf(",\"ratio\":%.4f", ratio(d->peak_reserved, d->peak_live));
    if (d->hits + d->misses) printf(",\"hit_rate\":%.4f", ratio(d->hits, d->hits + d->misses));
    if (d->driver_calls_known) printf(",\"driver_calls\":%" PRIu64 ",\"memory_calls\":%" PRIu64, d->driver_calls, d->memory_calls);
    printf(",\"seconds\":%.6f}\n", d->seconds);
}

static void print_text(const struct trace *t, const struct report *d) {
    const double mib = 1 << 20;
    printf("%zu events of %s\n", t->count, t->command[0] ? t->command : "an unnamed program");
    if (t->dropped) printf("%" PRIu64 " more were not recorded: the file had no room\n", t->dropped);
    printf("%" PRIu64 " allocations, %" PRIu64 " frees, %" PRIu64 " failed; %.3f s\n", d->allocs, d->frees, d->failed, d->seconds);
    if (d->unknown_frees) printf("%" PRIu64 " frees of memory that the trace did not see allocated were left out\n", d->unknown_frees);
    printf("peak live      %12.2f MiB\n", (double)d->peak_live / mib);
    printf("peak reserved  %12.2f MiB", (double)d->peak_reserved / mib);
    if (d->peak_live) printf("  %.4f of peak live", ratio(d->peak_reserved, d->peak_live));
    printf("\nhits           %12" PRIu64 " of %" PRIu64 "\n", d->hits, d->hits + d->misses);
    printf("driver         %12" PRIu64 " allocations, %" PRIu64 " frees, %" PRIu64 " fences", d->driver_allocs, d->driver_frees, d->fences);
    if (d->driver_calls_known) printf("; %" PRIu64 " calls, %" PRIu64 " for memory", d->driver_calls, d->memory_calls);
    puts("");
}

static int replay(const struct request *r, const char *file) {
    struct trace trace;
    struct report report;
    if (!trace_read(file, &trace)) return complain(FAILED, "%s: %s", r->file, trace.wrong);
    const char *wrong = drive(&trace, &r->drive, &report);
    if (wrong) return complain(FAILED, "%s", wrong);
    if (r->json) print_json(&trace, &report);
    else print_text(&trace, &report);
    return fflush(stdout) == 0 && !ferror(stdout) ? OK : complain(FAILED, "cannot write to standard output");
}

static int replay_snapshot(const struct request *r) {
    const char *folder = getenv("TMPDIR");
    char made[PATH_MAX];
    snprintf(made, sizeof made, "%s/coppice-replay-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = r->save ? -1 : mkstemp(made);
    if (!r->save && fd < 0) return complain(FAILED, "no temporary file can be made in %s", folder && *folder ? folder : "/tmp");
    if (fd >= 0) close(fd);
    int status = snapshot_convert(r->file, r->save ? r->save : made);
    if (status == OK) status = replay(r, r->save ? r->save : made);
    if (!r->save) unlink(made);
    return status;
}

int main(int count, char **words) {
    struct request r = { .drive = { .library = "libcuda.so.1", .sync = true } };
    for (int i = 1, used; i < count; i += used) {
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) return fputs(usage, stdout), OK;
        if (strcmp(words[i], "--version") == 0) return puts("coppice-replay " COPPICE_VERSION), OK;
        int status = take_word(&r, words[i], words[i + 1], &used);
        if (status != OK) return status;
    }
    if (!r.file) return complain(MISUSE, "which trace? `coppice-replay --help` says more");
    if (r.save && !r.snapshot) return complain(MISUSE, "--save goes with --from-snapshot");
    r.drive.library = driver_named(r.drive.library);
    unsetenv("COPPICE_TRACE"); /* replaying is not traced */
    options_load();
    return r.snapshot ? replay_snapshot(&r) : replay(&r, r.file);
}
