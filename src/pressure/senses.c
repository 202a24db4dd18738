/* senses.c: see senses.h. */
#include "pressure/senses.h"
#include "base/options.h"
#include "base/sys.h"
#include "device/fullest.h"
#include "heap/heap.h"
#include "pressure/parse.h"
#include <string.h>

enum { GROUPS = 4, FOLDER = 256, FILE_MOST = 8192, MOUNTS_MOST = 65536, STALL_TIGHT = 100 /* thousandths of the time */ };
#define FIND_AGAIN_NS 60000000000u

struct group {
    enum group_version version;
    char folder[FOLDER];
    uint64_t trouble; /* times the limit was met, as of the last look */
    bool seen;        /* `trouble` says something */
};

/* What is remembered between looks; whoever looks is alone. */
static struct {
    struct group group[GROUPS];
    unsigned groups;
    uint64_t found_ns; /* when the groups were last looked for; 0: never */
    uint64_t stall_us, stall_ns;
} known;

static const char *prefix = "";
void senses_root(const char *folder) { prefix = folder, senses_forget(); }
void senses_forget(void) { memset(&known, 0, sizeof known); }

enum pressure_level senses_level(uint64_t fullness, uint64_t threshold) {
    return fullness < threshold ? PRESSURE_NONE : fullness < threshold + (1000 - threshold) / 2 ? PRESSURE_SOME : PRESSURE_HIGH;
}

static uint64_t thousandths(uint64_t part, uint64_t whole) {
    return whole == 0 ? 0 : (uint64_t)((__uint128_t)part * 1000 / whole);
}

/* --- what senses say */

static void notice(struct senses_reading *r, enum pressure_source source, uint64_t fullness, bool trouble) {
    enum pressure_level level = trouble ? PRESSURE_HIGH : senses_level(fullness, option_number(pressure));
    enum pressure_level *of = source == PRESSURE_DEVICE ? &r->device : &r->host;
    if (level > *of) *of = level;
    if (level < r->level || (level == r->level && fullness <= r->fullness)) return;
    r->level = level, r->source = source, r->fullness = fullness;
}

static bool read_file(const char *folder, const char *name, char *buffer, size_t capacity) {
    char path[2 * FOLDER];
    struct text t = text_in(path, sizeof path);
    text_add(&t, folder), text_char(&t, '/'), text_add(&t, name);
    return !t.full && sys_read_file(path, buffer, capacity) > 0;
}

static bool read_number(const char *folder, const char *name, uint64_t *number) {
    char text[64];
    return read_file(folder, name, text, sizeof text) && parse_number(text, number);
}

static bool read_key(const char *folder, const char *name, const char *key, uint64_t *number) {
    char text[FILE_MOST];
    return read_file(folder, name, text, sizeof text) && parse_key(text, key, number);
}

/* --- groups */

/* The least that the group may have; version 1 says "no limit" by a number that no machine has. */
static bool limit_of(const struct group *g, uint64_t *limit) {
    uint64_t high, max;
    if (g->version == GROUP_V1) return read_number(g->folder, "memory.limit_in_bytes", limit) && *limit < SIZE_LIMIT;
    bool has_high = read_number(g->folder, "memory.high", &high), has_max = read_number(g->folder, "memory.max", &max);
    *limit = has_high && (!has_max || high < max) ? high : max;
    return has_high || has_max;
}

/* Use without file cache that has not been used lately: the kernel takes that back unasked. */
static bool use_of(const struct group *g, uint64_t *use) {
    uint64_t cache = 0;
    if (!read_number(g->folder, g->version == GROUP_V1 ? "memory.usage_in_bytes" : "memory.current", use)) return false;
    read_key(g->folder, "memory.stat", g->version == GROUP_V1 ? "total_inactive_file" : "inactive_file", &cache);
    *use -= cache < *use ? cache : *use;
    return true;
}

static bool trouble_of(const struct group *g, uint64_t *count) {
    char text[FILE_MOST];
    if (g->version == GROUP_V1) return read_number(g->folder, "memory.failcnt", count);
    uint64_t high = 0, max = 0;
    if (!read_file(g->folder, "memory.events", text, sizeof text)) return false;
    bool any = parse_key(text, "high", &high);
    any |= parse_key(text, "max", &max);
    *count = high + max;
    return any;
}

static void add_group(const char *folder, enum group_version version) {
    struct group g = { .version = version };
    uint64_t limit;
    if (known.groups == GROUPS || strlen(folder) >= FOLDER) return;
    strcpy(g.folder, folder);
    if (limit_of(&g, &limit)) known.group[known.groups++] = g;
}

/* Ours and those above it, as far as they are mounted: any of them may have the limit. */
static void find_version(const char *cgroup, const char *mountinfo, enum group_version version) {
    char folder[FOLDER];
    size_t top = strlen(prefix) + 1;
    struct text t = text_in(folder, sizeof folder);
    text_add(&t, prefix);
    if (!parse_group_folder(cgroup, mountinfo, version, &t)) return;
    for (size_t end = t.length; end > top; end--) {
        if (folder[end] != 0 && folder[end] != '/') continue;
        folder[end] = 0;
        add_group(folder, version);
    }
}

static void find_groups(uint64_t now_ns) {
    static char cgroup[FILE_MOST], mountinfo[MOUNTS_MOST];
    struct group before[GROUPS];
    unsigned count = known.groups;
    char proc[FOLDER];
    struct text t = text_in(proc, sizeof proc);
    memcpy(before, known.group, sizeof before);
    known.found_ns = now_ns, known.groups = 0;
    text_add(&t, prefix), text_add(&t, "/proc/self");
    if (!read_file(proc, "cgroup", cgroup, sizeof cgroup) || !read_file(proc, "mountinfo", mountinfo, sizeof mountinfo)) return;
    find_version(cgroup, mountinfo, GROUP_V2), find_version(cgroup, mountinfo, GROUP_V1);
    for (unsigned i = 0; i < known.groups; i++)
        for (unsigned j = 0; j < count; j++)
            if (strcmp(known.group[i].folder, before[j].folder) == 0) known.group[i] = before[j];
}

static void sense_groups(struct senses_reading *r, uint64_t now_ns) {
    if (known.found_ns == 0 || now_ns - known.found_ns >= FIND_AGAIN_NS) find_groups(now_ns);
    for (struct group *g = known.group; g < known.group + known.groups; g++) {
        uint64_t use, limit, trouble;
        bool met = false;
        if (trouble_of(g, &trouble)) met = g->seen && trouble > g->trouble, g->trouble = trouble, g->seen = true;
        if (limit_of(g, &limit) && use_of(g, &use)) notice(r, PRESSURE_GROUP, thousandths(use, limit), met);
    }
}

/* --- the machine */

static void sense_machine(struct senses_reading *r) {
    char text[FILE_MOST];
    uint64_t total, available;
    if (!read_file(prefix, "proc/meminfo", text, sizeof text)) return;
    if (parse_key(text, "MemTotal", &total) && parse_key(text, "MemAvailable", &available) && available <= total)
        notice(r, PRESSURE_MACHINE, thousandths(total - available, total), false);
}

/* Our group's stalls if it has a file of its own, else the machine's. */
static bool read_stall(uint64_t *stall_us) {
    char text[512];
    for (unsigned i = 0; i < known.groups; i++)
        if (known.group[i].version == GROUP_V2 && read_file(known.group[i].folder, "memory.pressure", text, sizeof text))
            return parse_stall(text, stall_us);
    return read_file(prefix, "proc/pressure/memory", text, sizeof text) && parse_stall(text, stall_us);
}

static void sense_stall(struct senses_reading *r, uint64_t now_ns) {
    uint64_t stall_us, before = known.stall_us, time_us = (now_ns - known.stall_ns) / 1000;
    if (!read_stall(&stall_us)) return;
    bool first = known.stall_ns == 0 || stall_us < before;
    known.stall_us = stall_us, known.stall_ns = now_ns;
    if (first || time_us == 0) return;
    uint64_t share = thousandths(stall_us - before, time_us);
    if (share >= STALL_TIGHT) notice(r, PRESSURE_STALL, share, true);
}

/* --- ourselves */

static void sense_own(struct senses_reading *r) {
    uint64_t used, limit;
    if (heap_use(&used, &limit)) notice(r, PRESSURE_OWN, thousandths(used, limit), false);
    if (pool_fullest(option_number(embodied), &used, &limit)) notice(r, PRESSURE_DEVICE, thousandths(used, limit), false);
}

struct senses_reading senses_look(uint64_t now_ns) {
    struct senses_reading r = { .source = PRESSURE_NOBODY };
    sense_own(&r);
    if (!option_number(embodied)) return r;
    sense_groups(&r, now_ns);
    sense_machine(&r);
    sense_stall(&r, now_ns);
    return r;
}
