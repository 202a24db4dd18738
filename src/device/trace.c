/* trace.c: events into records; see trace.h. */
#include "device/trace.h"
#include "base/lock.h"
#include <unistd.h>

enum { STRIPES = 16, TRACED_CONTEXTS = 16, NO_CONTEXT = 255 };

/* Threads that share a stripe take its lock for each record; sixteen are enough that they seldom meet. */
struct stripe {
    struct lock lock;
    uint32_t thread, context;      /* as of the last record */
    struct trace_block *block;     /* NULL: none yet, or none can be had */
    uint32_t used;
    uint64_t time, address;        /* as of the last record */
} __attribute__((aligned(128)));
static struct stripe stripes[STRIPES] = { [0 ... STRIPES - 1] = { .lock = LOCK_INIT(RANK_TRACE) } };
static struct lock file_lock = LOCK_INIT(RANK_TRACE_FILE);
static struct { int device; uint64_t capacity; } known[TRACED_CONTEXTS];
static _Thread_local uint32_t own_thread;
_Atomic bool trace_on;

static const uint8_t fields_of[TRACE_KIND_COUNT] = {
#define X(name, number, fields, meaning) [number] = fields,
    TRACE_KINDS(X)
#undef X
};

static unsigned char *put(unsigned char *at, uint64_t value) {
    for (; value > 127; value >>= 7) *at++ = (unsigned char)(value | 128);
    *at++ = (unsigned char)value;
    return at;
}
static uint64_t zigzag(uint64_t delta) { return delta << 1 ^ -(delta >> 63); }

static void encode(struct stripe *s, const struct trace_event *e) {
    unsigned char *start = (unsigned char *)s->block + s->used, *at = start;
    unsigned fields = fields_of[e->kind];
    *at++ = (unsigned char)(e->kind | e->flags << 4);
    at = put(at, zigzag(e->time - s->time));
    if (fields & TRACE_ADDRESS) at = put(at, zigzag(e->address - s->address)), s->address = e->address;
    if (fields & TRACE_SIZE) at = put(at, e->size);
    if (fields & TRACE_EXTRA) at = put(at, e->extra);
    s->time = e->time;
    s->used += (uint32_t)(at - start);
    invariant(at - start <= TRACE_RECORD_MOST);
}

static COLD bool next_block(struct stripe *s) {
    lock_take(&file_lock);
    s->block = trace_file_block(s->block);
    lock_release(&file_lock);
    if (!s->block) return false;
    s->block->magic = TRACE_BLOCK_MAGIC, s->block->stripe = (uint32_t)(s - stripes);
    s->block->base_ns = clock_ns() - trace_file_base_ns();
    s->used = sizeof *s->block, s->time = s->block->base_ns, s->address = 0, s->thread = 0, s->context = NO_CONTEXT;
    return true;
}

/* Whose record it is, when that is not whose the last one was. */
static void announce(struct stripe *s, const struct trace_event *e) {
    if (s->thread != own_thread) {
        s->thread = own_thread;
        encode(s, &(struct trace_event){ TRACE_THREAD, .time = e->time, .extra = own_thread });
    }
    if (s->context == e->context || e->context >= TRACED_CONTEXTS) return;
    s->context = e->context;
    encode(s, &(struct trace_event){ TRACE_CONTEXT, .time = e->time, .size = known[e->context].capacity,
                                     .extra = e->context + 256u * (uint32_t)known[e->context].device });
}

void trace_write(const struct trace_event *event) {
    struct trace_event e = *event;
    e.time = (e.time ? e.time : clock_ns()) - trace_file_base_ns();
    if (unlikely(own_thread == 0)) own_thread = (uint32_t)gettid();
    struct stripe *s = &stripes[own_thread % STRIPES];
    lock_take(&s->lock);
    if (trace_wanted() && (likely(s->block && s->used <= TRACE_BLOCK - 3 * TRACE_RECORD_MOST) || next_block(s))) {
        announce(s, &e);
        encode(s, &e);
        atomic_store_explicit(&s->block->used, s->used, memory_order_release);
    } else {
        trace_file_dropped();
    }
    lock_release(&s->lock);
}

void trace_context(unsigned index, int device, uint64_t capacity) {
    if (index < TRACED_CONTEXTS) known[index].device = device, known[index].capacity = capacity;
}

void trace_start(void) { atomic_store(&trace_on, trace_file_open()); }

void trace_fork_child(void) {
    atomic_store(&trace_on, false);
    for (unsigned i = 0; i < STRIPES; i++) lock_reset(&stripes[i].lock);
    lock_reset(&file_lock);
}
