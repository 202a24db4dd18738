/* room.c: the chain of room.h. */
#include "device/room.h"
#include "base/lock.h"
#include "base/options.h"
#include "device/pinned.h"
#include "device/pool.h"
#include "device/tenants.h"
#include "device/weights.h"

enum { POOLS = 32 };
static struct lock pools_lock = LOCK_INIT(RANK_CONTEXT);
static CUmemoryPool pools[POOLS]; /* under pools_lock: those beyond are not trimmed */

void room_remember_pool(CUmemoryPool pool) {
    lock_take(&pools_lock);
    for (unsigned i = 0; i < POOLS; i++)
        if (!pools[i] || pools[i] == pool) {
            pools[i] = pool;
            break;
        }
    lock_release(&pools_lock);
}

void room_forget_pool(CUmemoryPool pool) {
    lock_take(&pools_lock);
    for (unsigned i = 0; i < POOLS; i++)
        if (pools[i] == pool) pools[i] = NULL;
    lock_release(&pools_lock);
}

/* --- the links. Each returns the bytes that it gave back; `c` may be NULL, when no context is current. */

static uint64_t own_cache(struct context *c) { return c ? pool_flush_context(c) : 0; }

/* Where no context is current the device is not known: then every one. */
static uint64_t device_caches(struct context *c) {
    uint64_t gone = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i] != c && (!c || contexts[i]->ordinal == c->ordinal)) gone += pool_flush_context(contexts[i]);
    return gone;
}

static uint64_t pinned_cache(struct context *c) { return (void)c, pinned_give_back(); }

/* Of a pool or, without one, of the device's graphs: what is reserved for them. By their own counts, because what the device has left
 * is other processes' doing, too. */
static uint64_t reserved_for(CUmemoryPool pool, CUdevice device) {
    cuuint64_t bytes = 0;
    CUresult answer = CUDA_ERROR_NOT_SUPPORTED;
    if (pool && driver.cuMemPoolGetAttribute) answer = driver.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &bytes);
    if (!pool && driver.cuDeviceGetGraphMemAttribute)
        answer = driver.cuDeviceGetGraphMemAttribute(device, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &bytes);
    return answer == CUDA_SUCCESS ? bytes : 0;
}

static uint64_t trim(CUmemoryPool pool, CUdevice device) {
    uint64_t before = reserved_for(pool, device);
    if (pool) driver.cuMemPoolTrimTo(pool, 0);
    else driver.cuDeviceGraphMemTrim(device);
    uint64_t after = reserved_for(pool, device);
    return before > after ? before - after : 0;
}

/* What a pool holds and nobody uses. The default pool is the driver's: it is always there. */
static uint64_t trim_pools(CUdevice device) {
    CUmemoryPool standard = NULL;
    uint64_t gone = 0;
    if (!driver.cuMemPoolTrimTo) return 0;
    if (driver.cuDeviceGetDefaultMemPool && driver.cuDeviceGetDefaultMemPool(&standard, device) == CUDA_SUCCESS)
        gone += trim(standard, device);
    lock_take(&pools_lock);
    for (unsigned i = 0; i < POOLS; i++)
        if (pools[i]) gone += trim(pools[i], device);
    lock_release(&pools_lock);
    return gone;
}

uint64_t room_trim_pools(struct context *c) {
    if (!context_enter(c)) return 0;
    bool relaxed = capture_relax();
    uint64_t gone = trim_pools(c->ordinal);
    if (driver.cuDeviceGraphMemTrim) gone += trim(NULL, c->ordinal);
    capture_unrelax(relaxed);
    context_leave(c);
    return gone;
}

static uint64_t stream_ordered_pools(struct context *c) { return c ? room_trim_pools(c) : 0; }

static uint64_t co_tenants(struct context *c) { return c ? tenants_give_back(c) : 0; }

static uint64_t (*const chain[])(struct context *c) = { own_cache, device_caches, pinned_cache, stream_ordered_pools, co_tenants };
enum { LINKS = sizeof chain / sizeof *chain };

static bool next_gives(struct room *r, struct context *c) {
    while (r->links < LINKS)
        if (chain[r->links++](c) > 0) return true;
    return false;
}

/* --- who asks */

static COLD bool make_room(struct room *r) { return driver_ready() && next_gives(r, context_current()); }

bool room_could_be(const struct context *c, uint64_t size) {
    return size <= c->capacity && option_number(device_reserve) <= c->capacity - size;
}

bool room_made(struct room *r, CUresult answer) { return unlikely(answer == CUDA_ERROR_OUT_OF_MEMORY) && make_room(r); }

bool room_made_for(struct room *r, CUresult answer, uint64_t size) {
    if (likely(answer != CUDA_ERROR_OUT_OF_MEMORY)) return false;
    struct context *c = context_current();
    return !(c && !room_could_be(c, size)) && make_room(r);
}

void room_settled(const struct room *r, CUresult answer) {
    struct context *c = context_known();
    if (c && r->links > 0 && answer == CUDA_SUCCESS) counter_add(&c->counters->oom_recoveries, 1);
}

static COLD bool leaves(struct context *c, uint64_t size, uint64_t reserve) {
    struct room room = { 0 };
    if (!room_could_be(c, size)) return false;
    do {
        size_t left = 0, all;
        if (driver.cuMemGetInfo_v2(&left, &all) != CUDA_SUCCESS) return true; /* the driver will say what is wrong */
        if (left >= reserve && left - reserve >= size) return true;
    } while (next_gives(&room, c));
    return false;
}

bool room_is_left(uint64_t size) {
    if (unlikely(atomic_load_explicit(&weights_bare, memory_order_relaxed))) weights_keep_promises(size);
    uint64_t reserve = option_number(device_reserve);
    if (likely(reserve == 0)) return true;
    struct context *c = context_current();
    return !c || !driver.cuMemGetInfo_v2 || leaves(c, size, reserve);
}

void room_fork_child(void) { lock_reset(&pools_lock), tenants_fork_child(); }
