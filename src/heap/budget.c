/* budget.c: see budget.h. */
#include "heap/budget.h"
#include "base/capacity.h"
#include "base/clock.h"
#include "heap/jemalloc.h"
#include "heap/thread.h"
#include <errno.h>

enum { BOUND = 2 * HEAP_GRANT };
#define TRIM_NS 1000000000u
/* Looking at the machine needs descriptors, which a small process in a sandbox may not have. */
#define LOOK_FROM ((uint64_t)16 << 20)

enum { NONE, MAKING, MADE };
static struct membranes tree;
static _Atomic int made;
static _Atomic int64_t left_behind; /* grants of threads that have ended, and what a fork's child came with as debt */

static bool is_made(void) { return atomic_load_explicit(&made, memory_order_acquire) == MADE; }

static void make(void) {
    int expected = NONE;
    if (!option_number(dtesn) || !atomic_compare_exchange_strong(&made, &expected, MAKING)) return;
    uint64_t limit = option_number(dtesn_limit) == SIZE_AUTO ? capacity_of_host() : option_number(dtesn_limit);
    struct dtesn_counters *seen = &counters->tree[0];
    bool ok = membranes_make(&tree, (enum tree_pattern)option_number(dtesn_pattern), (unsigned)option_number(dtesn_depth), limit, seen);
    if (ok) atomic_fetch_sub(&left_behind, (int64_t)counter_get(&counters->inherited_bytes));
    counter_set(&seen->in_use, ok);
    atomic_store_explicit(&made, ok ? MADE : NONE, memory_order_release);
}

void heap_budget_show(void) { make(); }

/* Spreads small numbers over 32 bits. */
static uint32_t mixed(uint32_t n) { return (n + 1) * 0x9e3779b1u; }

static uint32_t membrane_of(struct heap_thread *t) {
    if (likely(t->has_membrane)) return t->membrane;
    unsigned arena = 0;
    size_t length = sizeof arena;
    je_mallctl("thread.arena", &arena, &length, NULL, 0);
    t->membrane = membranes_place(&tree, COPPICE_UNTYPED, mixed(arena), HEAP_GRANT).id;
    t->has_membrane = true;
    return t->membrane;
}

/* Free memory goes back to the system, where the last time was a while ago. */
static bool clean_up(void) {
    static _Atomic uint64_t last;
    uint64_t now = clock_ns(), then = atomic_load(&last);
    return now - then >= TRIM_NS && atomic_compare_exchange_strong(&last, &then, now) && heap_trim();
}

static enum membranes_answer take(struct heap_thread *t, uint64_t bytes) {
    enum membranes_answer answer = membranes_take(&tree, membrane_of(t), bytes);
    if (unlikely(answer == MEMBRANES_FULL) && clean_up()) answer = membranes_take(&tree, membrane_of(t), bytes);
    return answer;
}

/* Without credit every call comes to the slow half, and so to heap_budget_admit. */
static void withdraw_credit(struct heap_thread *t) { heap_thread_credit(t, 0); }

static void fill(struct heap_thread *t) {
    uint64_t debt = (uint64_t)-t->grant;
    enum membranes_answer answer = take(t, debt + HEAP_GRANT);
    if (answer == MEMBRANES_FULL) membranes_take_over(&tree, membrane_of(t), debt), t->grant = 0;
    else t->grant = HEAP_GRANT;
    t->tight = answer == MEMBRANES_FULL && heap_budget_is_hard();
    if (t->tight) withdraw_credit(t);
    if (answer != MEMBRANES_COMPLIANT) counter_add(&tree.counters->borrowed_allocations, 1);
}

void heap_budget_adjust(struct heap_thread *t) {
    if (!is_made()) {
        if (option_number(dtesn_limit) != SIZE_AUTO || heap_thread_allocated(t) >= LOOK_FROM) make();
        if (!is_made()) return;
    }
    if (atomic_load_explicit(&left_behind, memory_order_relaxed)) t->grant += atomic_exchange(&left_behind, 0);
    int saved = errno;
    if (t->grant < 0) fill(t);
    if (t->grant > BOUND) {
        membranes_release_near(&tree, membrane_of(t), (uint64_t)(t->grant - HEAP_GRANT));
        t->grant = HEAP_GRANT;
    }
    errno = saved;
}

bool heap_budget_admit(size_t size) {
    struct heap_thread *t = &heap_thread;
    heap_publish();
    if (t->grant < 0) heap_budget_adjust(t);
    if (!is_made()) return true;
    if (t->grant >= 0 && (uint64_t)t->grant >= size) return true;
    if (size < INT64_MAX / 4 && take(t, size) != MEMBRANES_FULL) {
        t->grant += (int64_t)size;
        return true;
    }
    counter_add(&tree.counters->refused_allocations, 1);
    errno = ENOMEM;
    return false;
}

void heap_budget_type_is(unsigned type, uint64_t live_bytes) { counter_set(&counters->tree[0].type_live_bytes[type], live_bytes); }

void heap_budget_consolidated(size_t bytes, uint64_t ns) {
    if (bytes == 0 || !is_made()) return;
    counter_add(&tree.counters->consolidation_ns, ns);
    counter_add(&tree.counters->consolidations, 1);
    counter_add(&tree.counters->bytes_consolidated, bytes);
}

void heap_budget_settle(uint64_t now_ns) {
    static _Atomic uint64_t last;
    uint64_t second = now_ns / 1000000000u, then = atomic_load_explicit(&last, memory_order_relaxed);
    if (is_made() && second != then && atomic_compare_exchange_strong(&last, &then, second)) membranes_settle(&tree, second);
}

void heap_budget_thread_end(struct heap_thread *t) {
    atomic_fetch_add(&left_behind, t->grant);
    t->grant = 0;
}

/* The other threads' grants are gone with them: a new tree begins with what is live. */
void heap_budget_fork_child(void) {
    struct heap_thread *t = &heap_thread;
    membranes_unmake(&tree);
    atomic_store(&made, NONE);
    atomic_store(&left_behind, 0);
    t->grant = 0, t->has_membrane = t->tight = false;
}
