/* give_back.c: requests to give memory back; see give_back.h. */
#include "device/give_back.h"
#include "device/pinned.h"
#include "device/pool.h"
#include "device/room.h"
#include <stdbool.h>

static bool is_on(const struct context *c, const uint64_t *uuid) {
    return !uuid || (counter_get(&c->counters->uuid_high) == uuid[0] && counter_get(&c->counters->uuid_low) == uuid[1]);
}

struct given_back device_give_back(const uint64_t uuid[2]) {
    struct given_back given = { 0 };
    if (!pool_chore_begins()) return given;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        struct context *c = contexts[i];
        if (!is_on(c, uuid) || !context_has_work(c)) continue;
        uint64_t bytes = pool_flush_context(c);
        counter_add(&c->counters->asked_bytes, bytes);
        given.device += bytes;
        given.pools += room_trim_pools(c);
    }
    if (!uuid) given.pinned = pinned_give_back();
    pool_chore_ends();
    return given;
}

void device_limits_changed(void) {
    if (!pool_chore_begins()) return;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        struct context *c = contexts[i];
        context_limit_changed(c);
        if (c->pool_max == 0) pool_flush_context(c);
        else if (context_has_work(c)) pool_enforce_limits(c);
    }
    pool_chore_ends();
}
