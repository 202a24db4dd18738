/* dump.c: from counters to a view, and from a view to text in one of the formats; see dump.h. Async-signal-safe. */
#include "stats/dump.h"
#include "base/clock.h"
#include "base/hints.h"
#include "base/sys.h"
#include "stats/format.h"
#include "stats/target.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool hit_percentile(const struct device_counters *d, unsigned percent, uint64_t *ns) {
    uint64_t total = 0, before = 0;
    for (int b = 0; b < COUNTER_HIT_BUCKETS; b++) total += counter_get(&d->hit_ns[b]);
    if (total == 0) return false;
    uint64_t rank = (uint64_t)(((__uint128_t)total * percent + 99) / 100);
    for (unsigned b = 0; b < COUNTER_HIT_BUCKETS; b++) {
        uint64_t here = counter_get(&d->hit_ns[b]);
        if (before + here < rank) {
            before += here;
            continue;
        }
        static const uint64_t root[] = { 1024, 1218, 1448, 1722, 2048 }; /* 1024 * 2^(i/4) */
        uint64_t low = root[b % 4] << (b / 4), high = root[b % 4 + 1] << (b / 4);
        *ns = (low + (uint64_t)((__uint128_t)(high - low) * (rank - before) / (here ? here : 1)) + 512) / 1024;
        return true;
    }
    return false; /* the counts fell while we read them: somebody else's file */
}

void text_version(struct text *t, uint64_t number) {
    text_u64(t, number / 10000), text_char(t, '.');
    text_u64(t, number / 100 % 100), text_char(t, '.');
    text_u64(t, number % 100);
}

static uint64_t number_after(const char *text, const char *name) {
    const char *at = strstr(text, name);
    if (!at) return 0;
    for (at += strlen(name); *at == ' ' || *at == '\t'; at++) {}
    uint64_t n = 0;
    for (; *at >= '0' && *at <= '9'; at++) n = n * 10 + (uint64_t)(*at - '0');
    return n;
}

/* What the kernel says now, where it can be asked; else what was last published. */
static void find_resident(struct view *v, bool alive) {
    char path[64], status[4096];
    struct text t = text_in(path, sizeof path);
    text_add(&t, "/proc/"), text_u64(&t, counter_get(&v->c->pid)), text_add(&t, "/status");
    uint64_t now = 0, peak = counter_get(&v->c->host.peak_resident_bytes);
    if (alive && sys_read_file(path, status, sizeof status) > 0) {
        now = number_after(status, "VmRSS:") * 1024;
        uint64_t high = number_after(status, "VmHWM:") * 1024;
        if (high > peak) peak = high;
    }
    v->resident_bytes = now ? now : counter_get(&v->c->host.resident_bytes);
    v->peak_resident_bytes = peak;
    v->has_resident = v->resident_bytes > 0;
    v->has_peak_resident = peak > 0;
}

static void find_uptime(struct view *v, bool alive) {
    uint64_t start = counter_get(&v->c->start_ns), end = counter_get(&v->c->end_ns);
    v->state = end ? "ended" : alive ? "running" : "gone";
    if (!end && alive) {
        struct timespec now;
        clock_gettime(CLOCK_BOOTTIME, &now);
        end = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    v->has_uptime = start > 0 && end >= start;
    v->uptime_ns = end - start;
}

/* Debug builds: does the conservation equation hold? While the device pool works the numbers of one moment may be read
 * in two, so only a sum that stays wrong while nothing happens is a mistake. */
static void check_device(const struct device_counters *d) {
    for (int attempt = 0; DEBUG_BUILD && attempt < 5; attempt++) {
        struct device_totals a = device_totals(d), b;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        b = device_totals(d);
        if (memcmp(&a, &b, sizeof a) != 0 || a.reserved_bytes >= a.live_bytes + a.rounding_bytes) return;
    }
    invariant(!DEBUG_BUILD);
}

/* What is freed in a fork's child and was allocated by its parent makes a site's sum negative. */
uint64_t site_live(const struct site_counters *n) {
    uint64_t live = counter_get(&n->live_bytes);
    return live > INT64_MAX ? 0 : live;
}

static bool weighs_more(const struct site_counters *a, const struct site_counters *b) {
    uint64_t x = site_live(a), y = site_live(b);
    return x != y ? x > y : counter_get(&a->bytes) > counter_get(&b->bytes);
}

/* Sorts the heaviest sites into the view. */
static void find_sites(struct view *v) {
    uint64_t used = counter_get(&v->c->sites_used);
    for (unsigned i = 0; i < used && i < COUNTER_SITES; i++) {
        const struct site_counters *n = &v->c->site[i];
        if (!counter_get(&n->in_use) || counter_get(&n->allocs) == 0) continue;
        if (v->sites == SITES_IN_JSON) {
            v->sites_left_out++;
            if (!weighs_more(n, &v->c->site[v->site[SITES_IN_JSON - 1]])) continue;
            v->sites--;
        }
        unsigned at = v->sites++;
        for (; at > 0 && weighs_more(n, &v->c->site[v->site[at - 1]]); at--) v->site[at] = v->site[at - 1];
        v->site[at] = (uint16_t)i;
    }
}

/* A dead process's numbers are as of its last change. */
static uint64_t moment(const struct counters *c, bool alive) {
    uint64_t last = counter_get(&c->host.published_ns);
    if (alive) return clock_ns();
    if (counter_get(&c->host.kv.past_ns[0]) > last) last = counter_get(&c->host.kv.past_ns[0]);
    for (unsigned i = 0; i < COUNTER_DEVICES; i++)
        if (counter_get(&c->device[i].kv.past_ns[0]) > last) last = counter_get(&c->device[i].kv.past_ns[0]);
    return last;
}

void dump_counters(const struct counters *c, enum stats_format format, bool alive, struct text *out) {
    struct view v = { .c = c, .host = counters_host_totals(c), .has_cached = counter_get(&c->host.published_ns) > 0 };
    find_resident(&v, alive);
    find_uptime(&v, alive);
    for (unsigned i = 0; i < COUNTER_DEVICES; i++) {
        if (counter_get(&c->device[i].in_use) == 0) continue;
        if (c == counters) check_device(&c->device[i]);
        v.device[v.devices++] = i;
    }
    v.now_ns = moment(c, alive);
    find_sites(&v);
    if (format == STATS_JSON) format_json(&v, out);
    else format_text(&v, out);
}

/* One writer at a time, by process: a fork while another thread writes must not leave the child without a turn. */
static bool begin_writing(_Atomic int *writer) {
    for (int waited_ms = 0; waited_ms < 200; waited_ms++) {
        int now = atomic_load(writer), self = getpid();
        if (now != self && atomic_compare_exchange_strong(writer, &now, self)) return true;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return false;
}

static void (*before)(void);
void dump_before(void (*work)(void)) { before = work; }

void dump_write(void) {
    static _Atomic int writer;
    static char buffer[DUMP_CAPACITY];
    int saved = errno;
    if (counter_get(&counters->pid) != (uint64_t)getpid()) return; /* a vfork's child: these are its parent's */
    if (begin_writing(&writer)) {
        struct text dump = text_in(buffer, sizeof buffer);
        if (before) before();
        dump_counters(counters, (enum stats_format)option_number(stats_format), true, &dump);
        invariant(!dump.full);
        target_write(&dump);
        atomic_store(&writer, 0);
    }
    errno = saved;
}
