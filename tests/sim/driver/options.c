/* options.c: the environment, read once; time; log lines; reports of undefined misuse. */
#include "sim.h"
#include "control.h"
#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options opt = { .capacity = 16ull << 30, .devices = 1, .cc_major = 9, .cc_minor = 0, .kernel_ns = 1000, .poison = true };

static u64 read_size(const char *text) {
    char *end;
    double n = strtod(text, &end);
    switch (*end) {
    case 'k': case 'K': n *= 1024; break;
    case 'm': case 'M': n *= 1024 * 1024; break;
    case 'g': case 'G': n *= 1024.0 * 1024 * 1024; break;
    case 't': case 'T': n *= 1024.0 * 1024 * 1024 * 1024; break;
    default: break;
    }
    return (u64)n;
}

static bool read_bool(const char *name, bool otherwise) {
    const char *v = getenv(name);
    if (!v || !*v) return otherwise;
    return strcmp(v, "0") != 0 && strcasecmp(v, "off") != 0 && strcasecmp(v, "no") != 0;
}

static void read_mutations(const char *text) {
    static const char *const names[] = {
#define X(name) #name,
        MUTATIONS(X)
#undef X
    };
    while (text && *text) {
        size_t n = strcspn(text, ",");
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (strlen(names[i]) == n && strncmp(names[i], text, n) == 0) {
                opt.mutations |= 1ull << i;
                known = true;
            }
        if (!known) fprintf(stderr, "simulated GPU: SIM_MUTATE: unknown mutation %.*s\n", (int)n, text);
        text += n + (text[n] == ',');
    }
}

void options_read(void) {
    const char *v;
    if ((v = getenv("SIM_CAPACITY")) && *v && read_size(v) > 0) opt.capacity = read_size(v);
    if ((v = getenv("SIM_DEVICES")) && *v) opt.devices = MIN(MAX(atoi(v), 0), MAX_DEVICES);
    if ((v = getenv("SIM_CC")) && *v) {
        opt.cc_major = atoi(v);
        v = strchr(v, '.');
        opt.cc_minor = v ? atoi(v + 1) : 0;
        if (opt.cc_major >= 50) {        /* 86 as well as 8.6 */
            opt.cc_minor = opt.cc_major % 10;
            opt.cc_major /= 10;
        }
    }
    if ((v = getenv("SIM_KERNEL_NS")) && *v) opt.kernel_ns = strtoull(v, NULL, 10);
    if ((v = getenv("SIM_SEED")) && *v) opt.seed = strtoull(v, NULL, 0);
    opt.cost = read_bool("SIM_COST", false);
    opt.strict = read_bool("SIM_STRICT", false);
    opt.log = read_bool("SIM_LOG", false);
    opt.poison = read_bool("SIM_POISON", true);
    opt.set_name = getenv("SIM_DEVICE_NAME");
    opt.zero = getenv("SIM_ZERO");
    read_mutations(getenv("SIM_MUTATE"));
    faults_read(getenv("SIM_FAULT"));
}

u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

void spin_ns(u64 ns) {
    u64 end = now_ns() + ns;
    if (ns > 200000) {                   /* long: sleep most of it */
        struct timespec t = { (time_t)((ns - 100000) / 1000000000ull), (long)((ns - 100000) % 1000000000ull) };
        nanosleep(&t, NULL);
    }
    while (now_ns() < end) {}
}

static void say(const char *kind, const char *format, va_list args) {
    char line[512];
    int n = snprintf(line, sizeof line, "simulated GPU [%d]%s: ", (int)getpid(), kind);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(2, line, (size_t)n) < 0) return;
}

void sim_log(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
}

void sim_misuse(const char *format, ...) {
    if (!opt.strict && !opt.log) return;
    va_list args;
    va_start(args, format);
    say(opt.strict ? " STRICT" : " misuse", format, args);
    va_end(args);
    if (!opt.strict) return;
    void *frames[32];
    backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
    abort();
}
