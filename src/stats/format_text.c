/* format_text.c: a dump for people: a line that names the process, one for the host, a few for each device. */
#include "stats/format.h"
#include "stats/names.h"
#include <string.h>

/* A label, and the column where its numbers start. */
static void label(struct text *t, const char *name) {
    enum { COLUMN = 10 };
    text_add(t, "  "), text_add(t, name);
    for (size_t n = strlen(name); n < COLUMN; n++) text_char(t, ' ');
}
static void size(struct text *t, const char *name, uint64_t bytes) { text_char(t, ' '), text_add(t, name), text_char(t, ' '), text_size(t, bytes); }
static void count(struct text *t, const char *name, uint64_t n) { text_char(t, ' '), text_add(t, name), text_char(t, ' '), text_u64(t, n); }

static void ratio(struct text *t, const char *name, uint64_t numerator, uint64_t denominator) {
    if (denominator == 0) return;
    uint64_t thousandths = (uint64_t)((__uint128_t)numerator * 1000 / denominator);
    text_char(t, ' '), text_add(t, name), text_char(t, ' ');
    text_u64(t, thousandths / 10), text_char(t, '.'), text_u64(t, thousandths % 10), text_char(t, '%');
}

/* Somebody's text on our line: control bytes would play tricks with the terminal. */
static void plain(struct text *t, const char *s) {
    for (; *s; s++) text_char(t, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void percentile(struct text *t, const char *name, const struct device_counters *d, unsigned percent) {
    uint64_t ns;
    if (hit_percentile(d, percent, &ns)) count(t, name, ns), text_add(t, " ns");
}

/* Key/value cache, of what lives beside it on the host or the device. */
static void kv(struct text *t, const struct kv_counters *n, uint64_t live_bytes, uint64_t now_ns) {
    if (counter_get(&n->kv_allocs) == 0) return;
    int64_t growth = kv_growth(n, now_ns);
    label(t, "  kv cache"), size(t, "live", counter_get(&n->kv_live_bytes)), ratio(t, "of live", counter_get(&n->kv_live_bytes), live_bytes);
    size(t, "peak", counter_get(&n->kv_peak_live_bytes)), count(t, "allocs", counter_get(&n->kv_allocs));
    text_add(t, growth < 0 ? " shrunk " : " grown "), text_size(t, growth < 0 ? -(uint64_t)growth : (uint64_t)growth);
    text_add(t, " in the last minute\n");
}

static void host(struct text *t, const struct view *v) {
    label(t, "host");
    size(t, "live", v->host.live_bytes);
    if (v->has_cached) size(t, "cached", counter_get(&v->c->host.cached_bytes));
    if (counter_get(&v->c->host.packed_bytes)) size(t, "packed", counter_get(&v->c->host.packed_bytes));
    if (v->has_resident) size(t, "resident", v->resident_bytes);
    if (v->has_peak_resident) size(t, "peak", v->peak_resident_bytes);
    count(t, "allocs", v->host.allocs), count(t, "frees", v->host.frees);
    if (counter_get(&v->c->host.cleared_bytes)) size(t, "cleared unwritten", counter_get(&v->c->host.cleared_bytes));
    if (counter_get(&v->c->host.reclaimed_bytes)) size(t, "zeros dropped", counter_get(&v->c->host.reclaimed_bytes));
    if (counter_get(&v->c->host.zero_state) == ZERO_REFUSED) text_add(t, "  zeros stay: userfaultfd is not permitted");
    text_char(t, '\n');
    kv(t, &v->c->host.kv, v->host.live_bytes, v->now_ns);
}

static void pinned(struct text *t, const struct pinned_counters *n) {
    uint64_t hits = counter_get(&n->hits), misses = counter_get(&n->misses);
    if (hits + misses == 0) return;
    label(t, "  pinned"), size(t, "live", counter_get(&n->live_bytes)), size(t, "reserved", counter_get(&n->reserved_bytes));
    size(t, "peak reserved", counter_get(&n->peak_reserved_bytes)), count(t, "allocs", counter_get(&n->allocs));
    count(t, "frees", counter_get(&n->frees)), ratio(t, "hits", hits, hits + misses), text_char(t, '\n');
}

static void weights(struct text *t, const struct device_totals *n) {
    if (n->weights_bytes + n->weights_offered == 0) return;
    label(t, "  weights"), size(t, "live", n->weights_bytes), size(t, "held once", n->weights_once_bytes), size(t, "not taken yet", n->weights_bare_bytes);
    count(t, "pages offered", n->weights_offered), count(t, "equal", n->weights_equal), count(t, "refused", n->weights_refused);
    count(t, "copied", n->weights_copied), text_add(t, "  took "), text_seconds(t, n->weights_ns), text_add(t, " s\n");
}

static void device(struct text *t, const struct device_counters *d, uint64_t now_ns) {
    struct device_totals n = device_totals(d);
    label(t, "device"), text_char(t, ' '), text_u64(t, counter_get(&d->id)), text_char(t, ' '), plain(t, d->name), text_char(t, '\n');
    label(t, "  memory"), size(t, "live", n.live_bytes), size(t, "rounding", n.rounding_bytes), size(t, "cached", n.cached_bytes);
    size(t, "reserved", n.reserved_bytes), size(t, "peak live", n.peak_live_bytes), size(t, "peak reserved", n.peak_reserved_bytes);
    ratio(t, "efficiency", n.live_bytes, n.reserved_bytes), text_char(t, '\n');
    kv(t, &d->kv, n.live_bytes, now_ns);
    label(t, "  calls"), count(t, "allocs", n.allocs), count(t, "frees", n.frees), ratio(t, "hits", n.hits, n.hits + n.misses);
    percentile(t, "p50", d, 50), percentile(t, "p99", d, 99), text_char(t, '\n');
    label(t, "  driver"), count(t, "allocs", n.driver_allocs), count(t, "frees", n.driver_frees), count(t, "trims", n.trims);
    count(t, "oom recoveries", n.oom_recoveries), count(t, "foreign frees", n.foreign_frees), count(t, "tainted", n.tainted_blocks);
    text_char(t, '\n');
    pinned(t, &d->pinned);
    weights(t, &n);
    if (n.tenant_requests + n.asked_bytes == 0) return;
    label(t, "  others"), count(t, "asked", n.tenant_requests), count(t, "silent", n.tenants_silent), size(t, "got", n.tenant_bytes);
    size(t, "gave", n.asked_bytes), text_char(t, '\n');
}

static void milliseconds(struct text *t, uint64_t ns) { count(t, "ms", ns / 1000000u); }

static void level(struct text *t, const struct dtesn_totals *n, unsigned i) {
    label(t, "  level"), text_char(t, ' '), text_u64(t, i + 1), count(t, "membranes", n->level[i].membranes);
    size(t, "budget", n->level[i].budget_bytes), size(t, "used", n->level[i].used_bytes), size(t, "cached", n->level[i].cached_bytes);
    ratio(t, "utilization", n->level[i].below_bytes, n->level[i].budget_bytes), text_char(t, '\n');
}

/* A line for the tree, one for each level down to the deepest that holds anything, one for its types. */
static void tree(struct text *t, const char *name, const struct dtesn_totals *n) {
    label(t, name), size(t, "limit", n->limit_bytes), count(t, "depth", n->depth);
    count(t, "compliant", n->compliant_allocations), count(t, "borrowed", n->borrowed_allocations);
    if (n->refused_allocations) count(t, "refused", n->refused_allocations);
    if (n->over_bytes) size(t, "over", n->over_bytes);
    count(t, "consolidations", n->consolidations), size(t, "moved", n->bytes_consolidated), milliseconds(t, n->consolidation_ns), text_char(t, '\n');
    bool any = false;
    for (unsigned i = 0; i < n->depth && n->level[i].below_bytes > 0; i++) level(t, n, i);
    for (unsigned i = 0; i < COUNTER_TYPES; i++) {
        if (!n->type[i].allocs && !n->type[i].live_bytes) continue;
        if (!any) label(t, "  types"), any = true;
        size(t, type_name(i), n->type[i].live_bytes);
        if (n->type[i].allocs) count(t, "allocs", n->type[i].allocs); /* a device's */
    }
    if (any) text_char(t, '\n');
}

static void dtesn(struct text *t, const struct counters *c) {
    struct dtesn_totals n;
    for (unsigned i = 0; i < COUNTER_TREES; i++) {
        if (!dtesn_totals(c, i, &n)) continue;
        char name[32];
        struct text label_text = text_in(name, sizeof name);
        text_add(&label_text, i == 0 ? "dtesn host" : "dtesn device ");
        if (i > 0) text_u64(&label_text, counter_get(&c->tree[i].device));
        tree(t, name, &n);
    }
}

static void intern(struct text *t, const struct intern_totals *n) {
    if (n->lookups == 0) return;
    label(t, "intern"), count(t, "entries", n->entries), count(t, "lookups", n->lookups), ratio(t, "hits", n->hits, n->lookups);
    size(t, "stored", n->bytes_stored), size(t, "held", n->held_bytes), size(t, "saved", n->bytes_saved);
    count(t, "evictions", n->evictions), count(t, "expired", n->expired), count(t, "refused", n->refused);
    text_char(t, '\n');
}

/* A site, what it holds, and why it has its type. */
static void site(struct text *t, const struct site_counters *n) {
    text_add(t, "    "), plain(t, n->name), text_char(t, ' '), text_add(t, api_name(counter_get(&n->api)));
    if (counter_get(&n->least_bytes)) text_add(t, " from "), text_size(t, counter_get(&n->least_bytes));
    text_add(t, ": "), text_add(t, type_name(counter_get(&n->type))), text_add(t, counter_get(&n->kv) ? " kv" : "");
    if (!api_is_host(counter_get(&n->api))) size(t, "live", site_live(n)), size(t, "peak", counter_get(&n->peak_live_bytes));
    size(t, "in all", counter_get(&n->bytes)), count(t, "allocs", counter_get(&n->allocs));
    text_add(t, ", by "), text_add(t, reason_name(counter_get(&n->reason)));
    if (counter_get(&n->observations)) text_add(t, " from "), text_u64(t, counter_get(&n->observations)), text_add(t, " observations");
    if (n->rule[0]) text_char(t, ' '), plain(t, n->rule);
    if (n->function[0]) text_add(t, ", in "), plain(t, n->function);
    text_char(t, '\n');
}

static void sites(struct text *t, const struct view *v) {
    if (v->sites == 0) return;
    unsigned shown = v->sites < SITES_IN_TEXT ? v->sites : SITES_IN_TEXT;
    label(t, "sites"), text_char(t, ' '), text_u64(t, v->sites + v->sites_left_out);
    if (shown < v->sites) text_add(t, ", the largest first");
    text_char(t, '\n');
    for (unsigned i = 0; i < shown; i++) site(t, &v->c->site[v->site[i]]);
}

static void pages(struct text *t, const struct intern_totals *n) {
    if (n->pages_looked_at == 0) return;
    label(t, "equal pages"), count(t, "shared", n->pages_shared), count(t, "published", n->pages_published);
    count(t, "merged by the kernel", n->pages_merged_by_kernel), count(t, "looked at", n->pages_looked_at);
    text_add(t, "  cpu "), text_seconds(t, n->share_cpu_ns), text_add(t, " s\n");
}

/* All parameter structs, and the pools that hold the most. */
static void params(struct text *t, const struct counters *c) {
    struct params_totals all = params_totals(c);
    if (all.allocs == 0) return;
    label(t, "params"), count(t, "live", all.live_objects), text_add(t, " objects"), size(t, "of", all.live_bytes), size(t, "held", all.held_bytes);
    count(t, "allocs", all.allocs), ratio(t, "reused", all.reused, all.allocs), ratio(t, "duplicate", all.duplicate_bytes, all.looked_bytes);
    text_char(t, '\n');
    unsigned shown = 0;
    for (const struct params_counters *n = c->params; n < c->params + COUNTER_PARAMS && shown < SITES_IN_TEXT; n++) {
        const struct site_counters *site = params_site(c, n);
        if (counter_get(&n->allocs) == 0) continue;
        text_add(t, "    "), plain(t, site ? site->name : "?"), text_char(t, ' '), text_u64(t, counter_get(&n->size)), text_add(t, " B:");
        count(t, "live", counter_get(&n->live_objects)), size(t, "held", counter_get(&n->held_bytes)), count(t, "allocs", counter_get(&n->allocs));
        ratio(t, "reused", counter_get(&n->reused), counter_get(&n->allocs)), ratio(t, "duplicate", counter_get(&n->duplicate_bytes), counter_get(&n->looked_bytes));
        text_char(t, '\n'), shown++;
    }
}

static void pressure(struct text *t, const struct pressure_counters *p) {
    if (counter_get(&p->looks) == 0) return;
    label(t, "pressure"), text_char(t, ' '), text_add(t, pressure_level_name(counter_get(&p->level)));
    text_add(t, " source "), text_add(t, pressure_source_name(counter_get(&p->source)));
    ratio(t, "full", counter_get(&p->fullness), 1000);
    count(t, "cleanups", counter_get(&p->cleanups)), count(t, "pressed", counter_get(&p->pressed));
    size(t, "released", counter_get(&p->bytes_released));
    text_char(t, '\n');
}

static void observed(struct text *t, const struct counters *c) {
    if (counter_get(&c->observe_looks) == 0) return;
    label(t, "duplicates"), text_add(t, " by size, of sampled live blocks; looks "), text_u64(t, counter_get(&c->observe_looks));
    text_add(t, ", cpu "), text_seconds(t, counter_get(&c->observe_cpu_ns)), text_add(t, " s\n");
    for (const struct observed_counters *n = c->observed; n < c->observed + COUNTER_OBSERVED; n++) {
        if (counter_get(&n->contents) == 0) continue;
        text_add(t, "    up to "), text_size(t, counter_get(&n->size)), text_char(t, ':');
        size(t, "live", counter_get(&n->live_bytes)), ratio(t, "duplicate", counter_get(&n->duplicate_bytes), counter_get(&n->bytes));
        size(t, "could save", counter_get(&n->could_save_bytes)), count(t, "looked at", counter_get(&n->contents));
        text_char(t, '\n');
    }
}

static void calls(struct text *t, const struct call_counters *call) {
    bool any = false;
    for (int i = 0; i < COUNTER_CALLS; i++) {
        if (!call[i].name[0] || counter_get(&call[i].calls) == 0) continue;
        if (!any) label(t, "passed on"), any = true;
        text_char(t, ' '), plain(t, call[i].name), text_char(t, ' '), text_u64(t, counter_get(&call[i].calls));
    }
    if (any) text_char(t, '\n');
}

void format_text(const struct view *v, struct text *t) {
    text_add(t, "coppice "), text_version(t, v->c->version);
    text_add(t, ": process "), text_u64(t, counter_get(&v->c->pid)), text_char(t, ' '), text_add(t, v->state);
    if (v->has_uptime) text_add(t, ", "), text_seconds(t, v->uptime_ns), text_add(t, " s");
    text_add(t, ": "), plain(t, v->c->command), text_char(t, '\n');
    host(t, v);
    for (unsigned i = 0; i < v->devices; i++) device(t, &v->c->device[v->device[i]], v->now_ns);
    struct intern_totals interned = intern_totals(v->c);
    intern(t, &interned);
    pages(t, &interned);
    observed(t, v->c);
    params(t, v->c);
    dtesn(t, v->c);
    sites(t, v);
    pressure(t, &v->c->pressure);
    calls(t, v->c->call);
}
