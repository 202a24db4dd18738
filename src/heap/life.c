/* life.c: the table of lives; see life.h. */
#include "heap/life.h"
#include "sites/learn.h"
#include <stdatomic.h>

enum { LIFE_FREE, LIFE_BUSY };
static struct life {
    _Atomic uintptr_t at; /* LIFE_FREE, LIFE_BUSY or the block */
    struct kind kind;
    size_t size;
    uint64_t born_ns;
} lives[LIFE_MOST];
static _Atomic uint32_t samples; /* how many of them are none of key/value cache */

static unsigned home(uintptr_t at) { return (unsigned)((at >> 4) * 0x9e3779b97f4a7c15ull >> 52); }
static struct life *nth(uintptr_t at, unsigned i) { return &lives[(home(at) + i) % LIFE_MOST]; }
static bool claim(struct life *l, uintptr_t from) { return atomic_compare_exchange_strong(&l->at, &from, LIFE_BUSY); }

bool life_begin(void *p, size_t size, struct kind kind, uint64_t now_ns) {
    for (unsigned i = 0; i < LIFE_NEAR; i++) {
        struct life *l = nth((uintptr_t)p, i);
        if (atomic_load_explicit(&l->at, memory_order_relaxed) != LIFE_FREE || !claim(l, LIFE_FREE)) continue;
        l->kind = kind, l->size = size, l->born_ns = now_ns;
        atomic_store_explicit(&l->at, (uintptr_t)p, memory_order_release);
        if (kind.kv) kv_changed(&counters->host.kv, (int64_t)size, now_ns);
        else atomic_fetch_add_explicit(&samples, 1, memory_order_relaxed);
        return true;
    }
    return false;
}

/* The entry is ours, and free afterwards. */
static struct life_known leave(struct life *l, uint64_t now_ns) {
    struct life_known was = { l->kind, l->size };
    uint64_t born_ns = l->born_ns;
    atomic_store_explicit(&l->at, LIFE_FREE, memory_order_release);
    if (was.kind.kv) kv_changed(&counters->host.kv, -(int64_t)was.size, now_ns);
    else atomic_fetch_sub_explicit(&samples, 1, memory_order_relaxed), site_observe(was.kind, was.size, now_ns - born_ns);
    return was;
}

struct life_known life_end(void *p, uint64_t now_ns) {
    for (unsigned i = 0; i < LIFE_NEAR; i++) {
        struct life *l = nth((uintptr_t)p, i);
        if (atomic_load_explicit(&l->at, memory_order_relaxed) != (uintptr_t)p || !claim(l, (uintptr_t)p)) continue;
        return leave(l, now_ns);
    }
    return (struct life_known){ 0 };
}

static bool is_long(const struct life *l, uint64_t now_ns) { return !l->kind.kv && (int64_t)(now_ns - l->born_ns) > (int64_t)LEARN_LONG_HOST_NS; }

void life_sweep(uint64_t now_ns) {
    if (atomic_load_explicit(&samples, memory_order_relaxed) == 0) return;
    for (struct life *l = lives; l < lives + LIFE_MOST; l++) {
        uintptr_t at = atomic_load_explicit(&l->at, memory_order_acquire);
        if (at <= LIFE_BUSY || !is_long(l, now_ns) || !claim(l, at)) continue;
        if (is_long(l, now_ns)) leave(l, now_ns);
        else atomic_store_explicit(&l->at, at, memory_order_release); /* another block meanwhile */
    }
}

uint32_t life_random(void) {
    static _Thread_local uint32_t state;
    if (!state) state = (uint32_t)(uintptr_t)&state | 1;
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
}
