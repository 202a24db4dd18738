/* learn.c: see learn.h. Pure: knows neither sites nor devices. */
#include "sites/learn.h"

static bool most(uint32_t part) { return part * 4 >= LEARN_AFTER * 3; }

static enum coppice_type verdict_of(const struct lesson *l) {
    if (l->host && most(l->lasting)) return COPPICE_SEMANTIC;
    if (most(l->same) && (!l->host || most(l->brief))) return COPPICE_PROCEDURAL;
    if (most(l->brief)) return COPPICE_EPISODIC;
    return most(l->lasting) ? COPPICE_SEMANTIC : COPPICE_UNTYPED;
}

static bool window_ends(struct lesson *l) {
    enum coppice_type verdict = verdict_of(l);
    bool first = l->observations == LEARN_AFTER, changes = verdict != l->type && (first || verdict == l->verdict);
    l->verdict = (uint8_t)verdict;
    l->same = l->brief = l->lasting = 0;
    if (changes) l->type = (uint8_t)verdict;
    return changes;
}

bool lesson_observe(struct lesson *l, uint64_t size, uint64_t lifetime_ns) {
    l->same += size == l->last_size || l->observations == 0;
    l->brief += lifetime_ns < LEARN_SHORT_NS;
    l->lasting += lifetime_ns > (l->host ? LEARN_LONG_HOST_NS : LEARN_LONG_NS);
    l->last_size = size;
    return ++l->observations % LEARN_AFTER == 0 && window_ends(l);
}
