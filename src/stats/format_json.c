/* format_json.c: a dump as one JSON object. The names are a promise to scripts: extend, never rename. */
#include "stats/format.h"
#include "stats/names.h"

static void key(struct text *t, const char *name) {
    char last = t->length > 0 ? t->bytes[t->length - 1] : '{';
    if (last != '{' && last != '[') text_char(t, ',');
    text_char(t, '"'), text_add(t, name), text_add(t, "\":");
}

static void number(struct text *t, const char *name, uint64_t value) { key(t, name), text_u64(t, value); }
/* The rows of a table: of counters at `n`, and of totals at `n`. */
#define COUNTED(field, unit, help) number(t, #field, counter_get(&n->field));
#define SUMMED(field, unit, help) number(t, #field, n->field);

/* A ratio of nothing to nothing is not known. */
static void ratio(struct text *t, const char *name, uint64_t numerator, uint64_t denominator) {
    if (denominator > 0) key(t, name), text_ratio(t, numerator, denominator);
}

static void percentile(struct text *t, const char *name, const struct device_counters *d, unsigned percent) {
    uint64_t ns;
    if (hit_percentile(d, percent, &ns)) number(t, name, ns);
}

/* As the driver and nvidia-smi write it. */
static void uuid(struct text *t, uint64_t high, uint64_t low) {
    text_add(t, "\"GPU-");
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) text_char(t, '-');
        text_char(t, "0123456789abcdef"[(i < 16 ? high >> (60 - 4 * i) : low >> (124 - 4 * i)) & 15]);
    }
    text_char(t, '"');
}

static uint64_t cached_of(const struct pinned_counters *n) {
    uint64_t used = counter_get(&n->live_bytes) + counter_get(&n->rounding_bytes), reserved = counter_get(&n->reserved_bytes);
    return reserved > used ? reserved - used : 0;
}

static void pinned(struct text *t, const struct pinned_counters *n) {
    uint64_t hits = counter_get(&n->hits), misses = counter_get(&n->misses);
    if (hits + misses == 0) return;
    key(t, "pinned"), text_char(t, '{');
    PINNED_COUNTERS(COUNTED)
    number(t, "cached_bytes", cached_of(n)), ratio(t, "hit_rate", hits, hits + misses);
    text_char(t, '}');
}

static void kv(struct text *t, const struct kv_counters *n, uint64_t live_bytes, uint64_t now_ns) {
    KV_COUNTERS(COUNTED)
    if (counter_get(&n->kv_allocs) == 0) return;
    ratio(t, "kv_share", counter_get(&n->kv_live_bytes), live_bytes);
    key(t, "kv_growth_bytes"), text_i64(t, kv_growth(n, now_ns));
}

static void device(struct text *t, const struct device_counters *d, uint64_t now_ns) {
    const struct device_totals sum = device_totals(d), *n = &sum;
    text_char(t, '{');
    number(t, "id", counter_get(&d->id));
    key(t, "name"), text_json_string(t, d->name);
    key(t, "context"), text_char(t, '"'), text_hex(t, counter_get(&d->context)), text_char(t, '"');
    if (counter_get(&d->uuid_high)) key(t, "uuid"), uuid(t, counter_get(&d->uuid_high), counter_get(&d->uuid_low));
    if (counter_get(&d->capacity)) number(t, "capacity_bytes", counter_get(&d->capacity));
    number(t, "live_bytes", n->live_bytes);
    DEVICE_COUNTERS(SUMMED)
    DEVICE_SHARD_COUNTERS(SUMMED)
    number(t, "cached_bytes", n->cached_bytes);
    ratio(t, "efficiency", n->live_bytes, n->reserved_bytes);
    ratio(t, "hit_rate", n->hits, n->hits + n->misses);
    percentile(t, "hit_ns_p50", d, 50);
    percentile(t, "hit_ns_p99", d, 99);
    kv(t, &d->kv, n->live_bytes, now_ns);
    pinned(t, &d->pinned);
    text_char(t, '}');
}

static void string(struct text *t, const char *name, const char *value) { key(t, name), text_json_string(t, value); }

static void site(struct text *t, const struct site_counters *n) {
    text_char(t, '{');
    string(t, "name", n->name);
    if (n->function[0]) string(t, "function", n->function);
    string(t, "api", api_name(counter_get(&n->api)));
    number(t, "least_bytes", counter_get(&n->least_bytes));
    string(t, "type", type_name(counter_get(&n->type)));
    if (counter_get(&n->kv)) key(t, "kv"), text_add(t, "true");
    string(t, "reason", reason_name(counter_get(&n->reason)));
    if (n->rule[0]) string(t, "rule", n->rule);
    if (counter_get(&n->observations)) number(t, "observations", counter_get(&n->observations));
    if (!api_is_host(counter_get(&n->api))) { /* what the host frees is not known by site */
        number(t, "live_bytes", site_live(n)), number(t, "peak_live_bytes", counter_get(&n->peak_live_bytes));
        number(t, "frees", counter_get(&n->frees));
    }
    number(t, "allocs", counter_get(&n->allocs)), number(t, "bytes", counter_get(&n->bytes));
    text_char(t, '}');
}

static void sites(struct text *t, const struct view *v) {
    if (v->sites == 0) return;
    key(t, "sites"), text_char(t, '[');
    for (unsigned i = 0; i < v->sites; i++) {
        if (i > 0) text_char(t, ',');
        site(t, &v->c->site[v->site[i]]);
    }
    text_char(t, ']');
    number(t, "sites_left_out", v->sites_left_out);
}

static void host(struct text *t, const struct view *v) {
    const struct host_counters *h = &v->c->host;
    key(t, "host"), text_char(t, '{');
    number(t, "live_bytes", v->host.live_bytes);
    if (v->has_cached) number(t, "cached_bytes", counter_get(&h->cached_bytes));
    if (counter_get(&h->packed_bytes)) number(t, "packed_bytes", counter_get(&h->packed_bytes));
    if (v->has_resident) number(t, "resident_bytes", v->resident_bytes);
    if (v->has_peak_resident) number(t, "peak_resident_bytes", v->peak_resident_bytes);
    number(t, "allocs", v->host.allocs);
    number(t, "frees", v->host.frees);
    number(t, "inherited_bytes", counter_get(&v->c->inherited_bytes));
    number(t, "foreign_frees", counter_get(&h->foreign_frees));
    number(t, "bootstrap_bytes", counter_get(&h->bootstrap_bytes));
    if (counter_get(&h->cleared_bytes)) number(t, "cleared_bytes", counter_get(&h->cleared_bytes));
    if (counter_get(&h->zero_state) == ZERO_REFUSED) key(t, "zero_reclaim"), text_json_string(t, "not permitted");
    if (counter_get(&h->zero_state) == ZERO_AT_WORK) {
        key(t, "zero_reclaim"), text_json_string(t, "at work");
        number(t, "reclaimed_bytes", counter_get(&h->reclaimed_bytes));
        number(t, "zero_looked_bytes", counter_get(&h->zero_looked_bytes));
        number(t, "zero_cpu_ns", counter_get(&h->zero_cpu_ns));
    }
    if (counter_get(&h->kv.kv_allocs)) kv(t, &h->kv, v->host.live_bytes, v->now_ns);
    text_char(t, '}');
}

static void levels(struct text *t, const struct dtesn_totals *n) {
    key(t, "levels"), text_char(t, '[');
    for (unsigned i = 0; i < n->depth; i++) {
        text_add(t, i > 0 ? ",{" : "{");
        number(t, "level", i + 1), number(t, "membranes", n->level[i].membranes), number(t, "budget_bytes", n->level[i].budget_bytes);
        number(t, "used_bytes", n->level[i].used_bytes), number(t, "cached_bytes", n->level[i].cached_bytes);
        ratio(t, "utilization", n->level[i].below_bytes, n->level[i].budget_bytes);
        text_char(t, '}');
    }
    text_char(t, ']');
}

static void types(struct text *t, const struct dtesn_totals *n, bool host) {
    key(t, "types"), text_char(t, '{');
    for (unsigned i = 0; i < COUNTER_TYPES; i++) {
        key(t, type_name(i)), text_char(t, '{');
        number(t, "live_bytes", n->type[i].live_bytes);
        if (!host) number(t, "allocs", n->type[i].allocs); /* not known by type there */
        text_char(t, '}');
    }
    text_char(t, '}');
}

static void tree(struct text *t, const struct dtesn_totals *n, bool host) {
    DTESN_COUNTERS(SUMMED)
    number(t, "compliant_allocations", n->compliant_allocations);
    levels(t, n);
    types(t, n, host);
    text_char(t, '}');
}

/* Where no tree was made nothing is said. */
static void dtesn(struct text *t, const struct counters *c) {
    struct dtesn_totals n;
    bool any = false, host = dtesn_totals(c, 0, &n);
    for (unsigned i = 0; i < COUNTER_TREES; i++) any |= counter_get(&c->tree[i].in_use) != 0;
    if (!any) return;
    key(t, "dtesn"), text_char(t, '{');
    if (host) key(t, "host"), text_char(t, '{'), tree(t, &n, true);
    key(t, "devices"), text_char(t, '[');
    for (unsigned i = 1; i < COUNTER_TREES; i++) {
        if (!dtesn_totals(c, i, &n)) continue;
        text_add(t, t->bytes[t->length - 1] == '[' ? "{" : ",{");
        number(t, "id", counter_get(&c->tree[i].device));
        tree(t, &n, false);
    }
    text_add(t, "]}");
}

static void intern(struct text *t, const struct intern_totals *n) {
    if (n->lookups == 0 && n->pages_looked_at == 0) return;
    key(t, "intern"), text_char(t, '{');
    INTERN_COUNTERS(SUMMED)
    if (n->pages_looked_at) {
        SHARE_COUNTERS(SUMMED)
    }
    number(t, "lookups", n->lookups), number(t, "hits", n->hits);
    ratio(t, "dedup_rate", n->hits, n->lookups);
    number(t, "bytes_in", n->bytes_in), number(t, "bytes_saved", n->bytes_saved);
    text_char(t, '}');
}

static void pressure(struct text *t, const struct pressure_counters *n) {
    if (counter_get(&n->looks) == 0) return;
    key(t, "pressure"), text_char(t, '{');
    key(t, "level"), text_json_string(t, pressure_level_name(counter_get(&n->level)));
    key(t, "source"), text_json_string(t, pressure_source_name(counter_get(&n->source)));
    ratio(t, "fullness", counter_get(&n->fullness), 1000);
    PRESSURE_COUNTERS(COUNTED)
    text_char(t, '}');
}

static void observed(struct text *t, const struct counters *c) {
    if (counter_get(&c->observe_looks) == 0) return;
    key(t, "observed"), text_char(t, '{');
    number(t, "looks", counter_get(&c->observe_looks)), number(t, "cpu_ns", counter_get(&c->observe_cpu_ns));
    key(t, "groups"), text_char(t, '[');
    for (const struct observed_counters *n = c->observed; n < c->observed + COUNTER_OBSERVED; n++) {
        if (counter_get(&n->contents) == 0) continue;
        text_add(t, t->bytes[t->length - 1] == '[' ? "{" : ",{");
        OBSERVED_COUNTERS(COUNTED)
        ratio(t, "duplicate_share", counter_get(&n->duplicate_bytes), counter_get(&n->bytes));
        text_char(t, '}');
    }
    text_add(t, "]}");
}

static void params(struct text *t, const struct counters *c) {
    struct params_totals all = params_totals(c);
    if (all.allocs == 0) return;
    key(t, "params"), text_char(t, '{');
    number(t, "live_objects", all.live_objects), number(t, "live_bytes", all.live_bytes), number(t, "held_bytes", all.held_bytes);
    number(t, "allocs", all.allocs), number(t, "reused", all.reused), ratio(t, "reuse", all.reused, all.allocs);
    number(t, "looked_bytes", all.looked_bytes), number(t, "duplicate_bytes", all.duplicate_bytes);
    ratio(t, "duplicate_share", all.duplicate_bytes, all.looked_bytes);
    key(t, "pools"), text_char(t, '[');
    for (const struct params_counters *n = c->params; n < c->params + COUNTER_PARAMS; n++) {
        const struct site_counters *site = params_site(c, n);
        if (counter_get(&n->size) == 0) continue;
        text_add(t, t->bytes[t->length - 1] == '[' ? "{" : ",{");
        string(t, "site", site ? site->name : "?"), number(t, "size", counter_get(&n->size));
        PARAMS_COUNTERS(COUNTED)
        text_char(t, '}');
    }
    text_add(t, "]}");
}

void format_json(const struct view *v, struct text *t) {
    text_char(t, '{');
    key(t, "version"), text_char(t, '"'), text_version(t, v->c->version), text_char(t, '"');
    number(t, "pid", counter_get(&v->c->pid));
    key(t, "command"), text_json_string(t, v->c->command);
    key(t, "state"), text_json_string(t, v->state);
    if (v->has_uptime) key(t, "uptime_s"), text_seconds(t, v->uptime_ns);
    key(t, "device"), text_char(t, '[');
    for (unsigned i = 0; i < v->devices; i++) {
        if (i > 0) text_char(t, ',');
        device(t, &v->c->device[v->device[i]], v->now_ns);
    }
    text_char(t, ']');
    host(t, v);
    struct intern_totals interned = intern_totals(v->c);
    intern(t, &interned);
    observed(t, v->c);
    params(t, v->c);
    dtesn(t, v->c);
    const struct control *asked = &v->c->control;
    if (counter_get(&asked->served) + counter_get(&asked->expired) > 0) {
        key(t, "control"), text_char(t, '{');
        number(t, "served", counter_get(&asked->served)), number(t, "expired", counter_get(&asked->expired));
        text_char(t, '}');
    }
    sites(t, v);
    pressure(t, &v->c->pressure);
    key(t, "calls"), text_char(t, '{');
    for (int i = 0; i < COUNTER_CALLS; i++) {
        const struct call_counters *call = &v->c->call[i];
        if (!call->name[0] || counter_get(&call->calls) == 0) continue;
        if (t->bytes[t->length - 1] != '{') text_char(t, ',');
        text_json_string(t, call->name), text_char(t, ':'), text_u64(t, counter_get(&call->calls));
    }
    text_add(t, "}}\n");
}
