/* names.c: see names.h. */
#include "stats/names.h"
#include "stats/counters.h"

static const struct { const char *name; bool host; } apis[API_COUNT] = {
#define X(NAME, name, host) { name, host },
    SITE_APIS(X)
#undef X
};
static const char *const reasons[SITE_REASONS] = { "default", "built-in rule", "rule", "api", "learned" };

const char *type_name(uint64_t type) { return type < COUNTER_TYPES ? counter_types[type] : type == COUNTER_TYPES ? "params" : "?"; }
const char *api_name(uint64_t api) { return api < API_COUNT ? apis[api].name : "?"; }
bool api_is_host(uint64_t api) { return api < API_COUNT && apis[api].host; }
const char *reason_name(uint64_t reason) { return reason < SITE_REASONS ? reasons[reason] : "?"; }
