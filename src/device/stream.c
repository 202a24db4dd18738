/* stream.c: known streams; see stream.h. A table of fixed size, read without a lock: a process has few streams at a time. */
#include "device/stream.h"
#include "base/lock.h"

enum { SLOTS = 1024, MOST = SLOTS / 2 };
#define GONE ((CUstream)~(uintptr_t)1) /* a slot whose stream has ended: taken again by the next that fits */

struct slot {
    _Atomic(CUstream) stream;  /* NULL: never taken */
    struct context *context;   /* written before `stream` */
    _Atomic bool used;
};
static struct slot slots[SLOTS];
static _Atomic bool defaults_used[CONTEXTS];
static struct lock table_lock = LOCK_INIT(RANK_STREAMS); /* whoever adds or removes */
static unsigned live;
static _Atomic bool overflow;
static _Atomic uint64_t lost, drained;

static inline unsigned slot_of(CUstream s) { return (unsigned)(((uintptr_t)s >> 4) * 0x9e3779b97f4a7c15ull >> 54); }

static inline bool is_stream(CUstream s) { return s && s != GONE; }

static struct slot *find(CUstream stream) {
    for (unsigned i = slot_of(stream), n = 0; n < SLOTS; i++, n++) {
        CUstream there = atomic_load_explicit(&slots[i % SLOTS].stream, memory_order_acquire);
        if (there == stream) return &slots[i % SLOTS];
        if (!there) return NULL;
    }
    return NULL;
}

static struct slot *add(CUstream stream, struct context *c) {
    lock_take(&table_lock);
    struct slot *slot = find(stream);
    unsigned i = slot_of(stream);
    if (!slot && live < MOST) {
        while (is_stream(atomic_load(&slots[i % SLOTS].stream))) i++;
        slot = &slots[i % SLOTS];
        live++;
        slot->context = c;
        atomic_store(&slot->used, false);
        atomic_store_explicit(&slot->stream, stream, memory_order_release);
    }
    lock_release(&table_lock);
    return slot;
}

/* The first work that a stream gets: which context is it in? */
static COLD struct slot *learn(CUstream stream) {
    CUcontext handle = NULL;
    if (!driver.cuStreamGetCtx || driver.cuStreamGetCtx(stream, &handle) != CUDA_SUCCESS) return NULL;
    struct context *c = context_of(handle);
    return c ? add(stream, c) : NULL;
}

static inline void mark(_Atomic bool *used) {
    atomic_thread_fence(memory_order_seq_cst); /* a mark may only be seen by a submission that the clearing epoch covers */
    if (!atomic_load_explicit(used, memory_order_relaxed)) atomic_store(used, true);
}

void stream_used(CUstream stream) {
    if (stream == NULL || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD) {
        struct context *c = context_current();
        if (c) mark(&defaults_used[c->index]);
        return;
    }
    struct slot *slot = stream == STREAM_ANY ? NULL : find(stream);
    if (!slot && stream != STREAM_ANY) slot = learn(stream);
    if (slot) mark(&slot->used);
    else atomic_store(&overflow, true);
}

bool streams_are_known(void) {
    return !atomic_load(&overflow) && !(atomic_load(&work_flags) & WORK_UNTRACKED) && atomic_load(&lost) == atomic_load(&drained);
}

static bool cover(struct context *c, CUstream stream, _Atomic bool *used, struct fence_event **list) {
    if (!atomic_exchange(used, false)) return true;
    struct fence_event *e = event_of_stream(c, stream);
    if (!e) return false;
    e->next = *list, *list = e;
    return true;
}

bool streams_cover(struct context *c, struct fence_event **list) {
    bool covered = cover(c, CU_STREAM_LEGACY, &defaults_used[c->index], list);
    lock_take(&table_lock); /* no stream is added half-way */
    for (unsigned i = 0; i < SLOTS && covered && live > 0; i++) {
        CUstream stream = atomic_load(&slots[i].stream);
        if (is_stream(stream) && slots[i].context == c) covered = cover(c, stream, &slots[i].used, list);
    }
    lock_release(&table_lock);
    return covered;
}

void streams_uncover(void) {
    for (unsigned i = 0; i < CONTEXTS; i++) atomic_store(&defaults_used[i], true);
    for (unsigned i = 0; i < SLOTS; i++) atomic_store(&slots[i].used, true);
}

struct context *stream_to_record(CUstream stream) {
    struct slot *slot = find(stream);
    return slot && atomic_load(&slot->used) ? slot->context : NULL;
}

void stream_forget(CUstream stream) {
    lock_take(&table_lock);
    struct slot *slot = find(stream);
    if (slot) atomic_store(&slot->stream, GONE), live--;
    lock_release(&table_lock);
}

void streams_forget(const struct context *c) {
    lock_take(&table_lock);
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].context == c && is_stream(atomic_load(&slots[i].stream))) atomic_store(&slots[i].stream, GONE), live--;
    atomic_store(&defaults_used[c->index], false);
    lock_release(&table_lock);
}

void stream_lost(void) { atomic_fetch_add(&lost, 1); }
uint64_t streams_lost(void) { return atomic_load(&lost); }

void streams_drained(uint64_t seen) {
    uint64_t old = atomic_load(&drained);
    while (old < seen && !atomic_compare_exchange_weak(&drained, &old, seen)) {}
}

void streams_fork_child(void) { lock_reset(&table_lock); }
