/* format.h: what the formats of a dump have in common.
 * A *view* is the counters plus what follows from them and is the same in every format. A number that cannot be known
 * (a killed process's end, resident memory that was never published) has its `has_` flag off and appears nowhere. */
#ifndef COPPICE_STATS_FORMAT_H
#define COPPICE_STATS_FORMAT_H
#include "base/text.h"
#include "stats/totals.h"

enum { SITES_IN_JSON = 128, SITES_IN_TEXT = 12 };

struct view {
    const struct counters *c;
    const char *state; /* running, ended (it said so), gone (killed) */
    struct host_totals host;
    bool has_uptime, has_cached, has_resident, has_peak_resident;
    uint64_t uptime_ns, resident_bytes, peak_resident_bytes;
    unsigned devices; /* indices of device[] in use come first in `device` */
    unsigned device[COUNTER_DEVICES];
    uint64_t now_ns; /* CLOCK_MONOTONIC; of the last change for a process that is gone */
    unsigned sites, sites_left_out; /* those with the most live bytes come first in `site`; the others are only counted */
    uint16_t site[SITES_IN_JSON];
};

void format_text(const struct view *v, struct text *out);
void format_json(const struct view *v, struct text *out);

/* The `percent`th percentile of the sampled hit times of a device, interpolated in its bucket; false: no samples. */
bool hit_percentile(const struct device_counters *d, unsigned percent, uint64_t *ns);
/* Live bytes of a site. */
uint64_t site_live(const struct site_counters *n);
/* The version number as 0.1.0. */
void text_version(struct text *t, uint64_t number);
#endif
