/* names.c: see names.h. */
#include "stats/names.h"
#include "stats/counters.h"

static const char *const types[COUNTER_TYPES] = { "untyped", "episodic", "procedural", "semantic", "emotional" };

static const struct { const char *name; bool host; } apis[API_COUNT] = {
#define X(NAME, name, host) { name, host },
    SITE_APIS(X)
#undef X
};
static const char *const reasons[SITE_REASONS] = { "default", "built-in rule", "rule", "api", "learned" };
#define NAME(id, name) name,
static const char *const pressure_levels[] = { PRESSURE_LEVELS(NAME) };
static const char *const pressure_sources[] = { PRESSURE_SOURCES(NAME) };

const char *type_name(uint64_t type) { return type < COUNTER_TYPES ? types[type] : type == COUNTER_TYPES ? "params" : "?"; }
const char *api_name(uint64_t api) { return api < API_COUNT ? apis[api].name : "?"; }
bool api_is_host(uint64_t api) { return api < API_COUNT && apis[api].host; }
const char *reason_name(uint64_t reason) { return reason < SITE_REASONS ? reasons[reason] : "?"; }
const char *pressure_level_name(uint64_t level) { return level < PRESSURE_LEVEL_COUNT ? pressure_levels[level] : "?"; }
const char *pressure_source_name(uint64_t source) { return source < PRESSURE_SOURCE_COUNT ? pressure_sources[source] : "?"; }
