/* predictor: how much memory each policy of COPPICE_PREDICTOR keeps for nothing, on an hour of two recorded loads.
 *
 * data/demand.csv is replayed second by second: first through src/dtesn/demand.c alone (`predictor.waste`), with what
 * the traces know of sizes, then through the device pool itself over a driver that always succeeds, in blocks of 64 MiB
 * (`predictor.pool.waste`); time is the trace's. *Waste* is what is kept and not used, in GB times seconds; a *miss* is
 * memory that the driver is asked for. Keeping more wastes more and misses less, so each policy is also compared with
 * those that miss as much: the sliding maximum of another length, and the *optimum*, which knows the future and keeps
 * memory through a gap exactly when the gap is short enough. */
#include "traces_time.h"
#include "base/options.h"
#include "device/pool.h"
#include "dtesn/demand.h"
#include "stats/totals.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4000, CURVE = 40, TRACES = 2, POLICIES = 3 };
#define MIB ((uint64_t)1 << 20)
#define UNIT (64 * MIB)
static const char *const trace_name[TRACES] = { "azure", "mooncake" }, *const policy_name[POLICIES] = { "window", "ar", "timer" };

struct trace {
    unsigned seconds;
    uint64_t live[MOST];
    uint32_t count[MOST][PREDICTOR_CLASSES];
};
struct score { double waste, misses; }; /* GB s, GB */
static struct trace traces[TRACES];

/* --- the traces */

static const char *read_trace(struct trace *t, const char *at) {
    char *end;
    t->live[t->seconds] = strtoull(at, &end, 10) * MIB;
    for (int c = 0; c < PREDICTOR_CLASSES; c++) t->count[t->seconds][c] = (uint32_t)strtoul(end + 1, &end, 10);
    t->seconds++;
    return end + 1;
}

static void read_traces(const char *path) {
    char line[256];
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file)) exit((perror(path), 1));
    while (fgets(line, sizeof line, file) && traces[0].seconds < MOST) {
        const char *at = strchr(line, ',') + 1;
        for (int i = 0; i < TRACES; i++) at = read_trace(&traces[i], at);
    }
    fclose(file);
}

/* --- what is compared with */

static void add_second(struct score *s, uint64_t *held, uint64_t live, uint64_t keep) {
    if (live > *held) s->misses += (double)(live - *held) / 1e9, *held = live;
    if (*held > keep) *held = keep > live ? keep : live;
    s->waste += (double)(*held - live) / 1e9;
}

/* A sliding maximum of `length` seconds, with the same room on top as demand.c leaves. */
static struct score window(const struct trace *t, unsigned length) {
    struct score s = { 0, 0 };
    uint64_t held = 0;
    for (unsigned i = 0; i < t->seconds; i++) {
        uint64_t most = 0;
        for (unsigned j = i + 1 > length ? i + 1 - length : 0; j <= i; j++) if (t->live[j] > most) most = t->live[j];
        add_second(&s, &held, t->live[i], most + (most / 10 > 64 * MIB ? most / 10 : 64 * MIB));
    }
    return s;
}

/* Every MiB by itself, in steps of 16: a gap in its use is bridged when it is at most `longest` seconds. */
static struct score optimum(const struct trace *t, unsigned longest) {
    struct score s = { 0, 0 };
    const double step = 16 * (double)MIB / 1e9;
    uint64_t most = 0;
    for (unsigned i = 0; i < t->seconds; i++) if (t->live[i] > most) most = t->live[i];
    for (uint64_t level = 8 * MIB; level < most; level += 16 * MIB) {
        unsigned last = 0;
        bool used = false;
        for (unsigned i = 0; i < t->seconds; i++) {
            if (t->live[i] < level) continue;
            unsigned gap = used ? i - last - 1 : longest + 1;
            if (gap > longest) s.misses += step;
            else s.waste += gap * step;
            last = i, used = true;
        }
    }
    return s;
}

/* Waste of the family at as many misses, between its members; its lengths grow, so misses fall along the curve. */
static double at_misses(const struct score *curve, double misses) {
    for (int i = 0; i + 1 < CURVE; i++) {
        const struct score *a = &curve[i], *b = &curve[i + 1];
        if (misses > a->misses || misses < b->misses || a->misses == b->misses) continue;
        return a->waste + (b->waste - a->waste) * (a->misses - misses) / (a->misses - b->misses);
    }
    return misses > curve[0].misses ? curve[0].waste : curve[CURVE - 1].waste;
}

/* --- the policies */

static const struct trace *counted;
static unsigned counted_second;
static void count_requests(const struct demand *d, uint32_t *count) {
    (void)d;
    memcpy(count, counted->count[counted_second], sizeof counted->count[0]);
}

static struct score through_demand(const struct trace *t) {
    struct demand *d = calloc(1, sizeof *d);
    struct score s = { 0, 0 };
    uint64_t held = 0;
    d->count = count_requests, counted = t;
    for (unsigned i = 0; i < t->seconds; i++) {
        counted_second = i;
        demand_tick(d, t->live[i], now_ns += SECOND);
        demand_rises(d, t->live[i]);
        add_second(&s, &held, t->live[i], demand_keep(d, t->live[i]));
    }
    free(d);
    return s;
}

/* A driver that has all the memory in the world. */
static CUcontext current;
static uint64_t next_address = 1ull << 40;
static CUresult works(void) { return CUDA_SUCCESS; }
static CUresult get_current(CUcontext *c) { return *c = current, CUDA_SUCCESS; }
static CUresult total(size_t *bytes, CUdevice device) { return (void)device, *bytes = (size_t)1 << 50, CUDA_SUCCESS; }
static void *find(const char *name) {
    if (strcmp(name, "cuCtxGetCurrent") == 0) return (void *)get_current;
    if (strcmp(name, "cuDeviceTotalMem_v2") == 0) return (void *)total;
    return (void *)works;
}

static uint64_t pool_alloc(struct context *c) {
    uint64_t address = pool_take(c, UNIT, LAYER_DRIVER);
    if (address) return address;
    pool_make_room(c, UNIT);
    pool_adopt(c, next_address += UNIT, UNIT, UNIT);
    return next_address;
}

static struct score through_pool(const struct trace *t) {
    static uint64_t block[8192];
    static uintptr_t handles = 0x1000;
    unsigned blocks = 0;
    current = (CUcontext)(handles += 16);
    context_set_current(current);
    struct context *c = context_current();
    struct score s = { 0, 0 };
    for (unsigned i = 0; i < t->seconds; i++) {
        now_ns += SECOND;
        uint64_t wanted = (t->live[i] + UNIT - 1) / UNIT;
        while (blocks > wanted) pool_give(block[--blocks], LAYER_DRIVER);
        while (blocks < wanted) block[blocks++] = pool_alloc(c);
        pool_chore(false);
        s.waste += (double)(counter_get(&c->counters->reserved_bytes) - device_live(c->counters)) / 1e9;
    }
    s.misses = (double)counter_get(&c->counters->misses) * UNIT / 1e9;
    context_close(current);
    pool_drop_context(c);
    return s;
}

/* --- the table */

static void print(const char *kind, const char *trace, const char *policy, struct score s, struct score base) {
    printf("bench predictor.%swaste.%s.%s %.3f ratio\n", kind, trace, policy, s.waste / base.waste);
    printf("bench predictor.%smisses.%s.%s %.3f ratio\n", kind, trace, policy, s.misses / base.misses);
}

static void compare(const struct trace *t, const char *name) {
    struct score windows[CURVE], best[CURVE], base[2] = { { 0, 0 }, { 0, 0 } };
    double length = 1;
    for (int i = 0; i < CURVE; i++, length *= 1.18) windows[i] = window(t, (unsigned)length), best[i] = optimum(t, (unsigned)length);
    for (unsigned policy = 0; policy < POLICIES; policy++) {
        option_values[OPTION_predictor].number = policy;
        struct score s[2] = { through_demand(t), through_pool(t) };
        for (int i = 0; i < 2; i++) {
            if (policy == 0) base[i] = s[i];
            print(i ? "pool." : "", name, policy_name[policy], s[i], base[i]);
            printf("  %.0f GB s kept for nothing, %.0f GB asked for; with as many misses a sliding maximum wastes %.0f, the optimum %.0f GB s\n",
                   s[i].waste, s[i].misses, at_misses(windows, s[i].misses), at_misses(best, s[i].misses));
        }
    }
    print("", name, "optimum", (struct score){ at_misses(best, base[0].misses), base[0].misses }, base[0]);
}

static void cost_of_a_step(void) {
    enum { STEPS = 200000 };
    struct predictor *p = calloc(1, sizeof *p);
    uint64_t lag[PREDICTOR_LAGS], bytes, start = real_ns();
    for (int i = 0; i < STEPS; i++) {
        for (int j = 0; j < PREDICTOR_LAGS; j++) lag[j] = (uint64_t)(i * 7919 % 1000 + j) << 20;
        predictor_step(p, lag, traces[0].count[i % 3000], lag[0], &bytes);
    }
    printf("bench predictor.step %.0f ns\n", (double)(real_ns() - start) / STEPS);
    free(p);
}

int main(int argc, char **argv) {
    read_traces(argc > 1 ? argv[1] : "data/demand.csv");
    options_load();
    option_values[OPTION_pool_max].number = (uint64_t)1 << 50;
    driver_fill(find);
    for (int i = 0; i < TRACES; i++) compare(&traces[i], trace_name[i]);
    cost_of_a_step();
    return 0;
}
