/* context.c: descriptors of CUDA contexts; see context.h. */
#include "device/context.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/sys.h"
#include "device/budget.h"
#include "device/fence.h"
#include "device/fill.h"
#include "device/pool.h"
#include "device/trace.h"
#include "stats/totals.h"
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct context *_Atomic contexts[CONTEXTS];
_Thread_local struct thread_device thread_device;
static struct lock contexts_lock = LOCK_INIT(RANK_DRIVER);

unsigned context_count(void) {
    unsigned n = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) n += !(atomic_load(&contexts[i]->gate) & GATE_CLOSED);
    return n;
}

static struct context *find(CUcontext handle) {
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->handle == handle) return contexts[i];
    return NULL;
}

/* POOL_MAX=auto: 1G or a tenth of the device, whichever is more. */
static uint64_t limit_of(uint64_t capacity) {
    uint64_t given = option_number(pool_max), tenth = capacity / 10, least = (uint64_t)1 << 30;
    return given != SIZE_AUTO ? given : tenth > least ? tenth : least;
}

/* The gate is looked at after the visit counts, and context_close shuts it before it looks for visitors: one of the two sees the other. */
bool context_visit(struct context *c) {
    atomic_fetch_add(&c->visitors, 1);
    if (likely(!(atomic_load(&c->gate) & GATE_CLOSED))) return true;
    context_depart(c);
    return false;
}

void context_depart(struct context *c) { atomic_fetch_sub(&c->visitors, 1); }

/* A visit ends with the driver's answers; the longest waits for the device, as destroying the context would. */
static void wait_for_visitors(struct context *c) {
    int saved = errno;
    while (atomic_load(&c->visitors) > 0) nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
    errno = saved;
}

bool context_enter(struct context *c) {
    if (!context_visit(c)) return false;
    if (thread_device.current == c || driver.cuCtxPushCurrent_v2(c->handle) == CUDA_SUCCESS) return true;
    context_depart(c);
    return false;
}

void context_leave(struct context *c) {
    CUcontext popped;
    /* once more if need be: the program's stack of contexts must be as it was */
    if (thread_device.current != c && driver.cuCtxPopCurrent_v2(&popped) != CUDA_SUCCESS) driver.cuCtxPopCurrent_v2(&popped);
    context_depart(c);
}

/* Asks the driver which device the context is on. False: it does not say, and the context cannot be served yet. */
static bool learn(struct context *c) {
    size_t bytes = 0;
    CUuuid uuid = { 0 };
    uint64_t words[2];
    struct device_counters *d = c->counters;
    CUcontext popped;
    if (driver.cuCtxPushCurrent_v2(c->handle) != CUDA_SUCCESS) return false;
    CUresult answer = driver.cuCtxGetDevice(&c->ordinal);
    if (driver.cuCtxPopCurrent_v2(&popped) != CUDA_SUCCESS) driver.cuCtxPopCurrent_v2(&popped);
    if (answer != CUDA_SUCCESS) return false;
    if (driver.cuDeviceTotalMem_v2 && driver.cuDeviceTotalMem_v2(&bytes, c->ordinal) != CUDA_SUCCESS) return false;
    if (driver.cuDeviceGetUuid_v2) driver.cuDeviceGetUuid_v2(&uuid, c->ordinal);
    memcpy(words, uuid.bytes, sizeof words);
    counter_set(&d->uuid_high, be64toh(words[0])), counter_set(&d->uuid_low, be64toh(words[1]));
    if (driver.cuDeviceGetName) driver.cuDeviceGetName(d->name, sizeof d->name, c->ordinal);
    c->capacity = bytes;
    c->pool_max = limit_of(bytes);
    counter_set(&d->id, (uint64_t)c->ordinal);
    counter_set(&d->context, (uint64_t)(uintptr_t)c->handle);
    counter_set(&d->capacity, bytes);
    counter_set(&d->in_use, 1);
    trace_context(c->index, c->ordinal, bytes);
    budget_join(c);
    return true;
}

/* How many blocks of a context are live, by size class: the demand model asks, every five seconds. */
struct census { const struct context *context; uint32_t *count; };
static void count_block(struct block *b, void *with) {
    struct census *all = with;
    if (b->context == all->context && atomic_load_explicit(&b->state, memory_order_relaxed) == BLOCK_LIVE) all->count[predictor_class(b->asked)]++;
}
static void count_live(const struct demand *d, uint32_t *count) {
    block_each(count_block, &(struct census){ (const struct context *)((const char *)d - offsetof(struct context, demand)), count });
}

static struct context *make(CUcontext handle) {
    unsigned index = 0;
    while (index < CONTEXTS && contexts[index]) index++;
    if (index == CONTEXTS) return NULL;
    if (index == 0) trace_start();
    struct context *c = sys_map(NULL, sizeof *c, PROT_READ | PROT_WRITE);
    if (!c) return NULL;
    c->handle = handle, c->index = index, c->counters = &counters->device[index];
    c->demand.count = count_live;
    for (unsigned i = 0; i < SHARDS; i++) shard_init(&c->shard[i], i), c->shard[i].counts = &c->counters->shard[i];
    if (!learn(c)) {
        sys_unmap(c, sizeof *c);
        return NULL;
    }
    atomic_store(&c->gate, c->pool_max == 0 ? GATE_OFF : 0);
    atomic_store_explicit(&contexts[index], c, memory_order_release);
    return c;
}

struct context *context_of(CUcontext handle) {
    struct context *c = find(handle);
    if (c && !(atomic_load(&c->gate) & GATE_CLOSED)) return c;
    lock_take(&contexts_lock);
    c = find(handle);
    if (!c) {
        c = make(handle);
    } else if (atomic_load(&c->gate) & GATE_CLOSED) { /* a new context at an old one's address */
        c->created = false;
        if (atomic_load(&c->gate) & GATE_ENDING || !learn(c)) c = NULL;
        else atomic_store(&c->gate, c->pool_max == 0 ? GATE_OFF : 0);
    }
    lock_release(&contexts_lock);
    if (c) pool_begin_chores(); /* whoever uses a device can be asked to give back */
    return c;
}

struct context *context_current(void) {
    struct context *c = thread_device.current;
    if (likely(c && !(atomic_load(&c->gate) & GATE_CLOSED))) return c;
    thread_device.current = NULL;
    CUcontext handle = NULL;
    if (driver.cuCtxGetCurrent(&handle) != CUDA_SUCCESS || !handle) return NULL;
    return thread_device.current = context_of(handle);
}

void context_set_current(CUcontext handle) { thread_device.current = handle ? context_of(handle) : NULL; }

struct context *context_close(CUcontext handle) {
    struct context *c = find(handle);
    if (!c) return NULL;
    atomic_fetch_or(&c->gate, GATE_CLOSED | GATE_ENDING);
    if (thread_device.current == c) thread_device.current = NULL;
    wait_for_visitors(c);
    fence_meet(); /* whoever asked about its events has finished */
    return c;
}

void context_ended(struct context *c) {
    fence_forget(c);
    fill_forget(c);
    atomic_fetch_and(&c->gate, ~(uint32_t)GATE_ENDING);
}

void context_reopen(struct context *c) { atomic_fetch_and(&c->gate, ~(uint32_t)(GATE_CLOSED | GATE_ENDING)); }
void context_limit_changed(struct context *c) {
    c->pool_max = limit_of(c->capacity);
    if (c->pool_max == 0) atomic_fetch_or(&c->gate, GATE_OFF);
    else if (!(atomic_load(&c->gate) & GATE_CLOSED)) atomic_fetch_and(&c->gate, ~(uint32_t)GATE_OFF);
}
static void poison(struct context *c) { atomic_fetch_or(&c->gate, GATE_POISONED); }
void context_noticed(struct context *c, CUresult answer) {
    if (unlikely(driver_error_lasts(answer))) poison(c);
}
void context_faulted(CUresult answer) {
    if (likely(!driver_error_is_sticky(answer))) return;
    struct context *c = context_current();
    if (c) poison(c);
}

void context_set_created(CUcontext handle) {
    struct context *c = context_of(handle);
    if (c) c->created = true;
    thread_device.current = c;
}

struct context *context_next_primary(CUdevice device, struct context *c) {
    for (unsigned i = c ? c->index + 1 : 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->ordinal == device && !contexts[i]->created) return contexts[i];
    return NULL;
}

uint64_t context_cached_on(CUdevice device) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->ordinal == device) bytes += device_cached(contexts[i]->counters);
    return bytes;
}

void context_fork_child(void) {
    lock_reset(&contexts_lock);
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) atomic_fetch_or(&contexts[i]->gate, GATE_CLOSED | GATE_OFF), contexts[i]->visitors = 0;
    thread_device = (struct thread_device){ 0 };
}
