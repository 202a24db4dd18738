/* pool.c: cuMemAllocAsync and the pools behind it. Nouns in pool.h.
 * All pool state is guarded by pool_lock, taken before memory_lock. */
#define _GNU_SOURCE
#include "pool.h"
#include "capture.h"
#include "vmm.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct idle { struct idle *next; struct block *block; struct record *ready; CUstream stream; };

struct CUmemPoolHandle_st {
    struct object object;
    CUmemoryPool next;
    struct device *device;
    CUmemPoolProps props;
    bool is_default, imported, destroyed;
    int fd;                              /* imported: the exporter's arena */
    u64 inode;
    int reuse_events, reuse_opportunistic, reuse_dependencies;
    u64 threshold, reserved, reserved_high, used, used_high;
    u64 access;                          /* bit set of devices */
    struct idle *idle;
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static CUmemoryPool all;
_Atomic int pools_with_idle_memory;

static CUmemoryPool pool_make(struct device *d, const CUmemPoolProps *props) {
    CUmemoryPool p = object_new(POOL, sizeof *p);
    p->device = d;
    if (props) p->props = *props;
    p->reuse_events = p->reuse_opportunistic = p->reuse_dependencies = 1;
    p->access = 1ull << d->ordinal;
    pthread_mutex_lock(&pool_lock);
    p->next = all;
    all = p;
    pthread_mutex_unlock(&pool_lock);
    return p;
}

struct device *pool_exportable(CUmemoryPool p) {
    return !p->imported && p->props.handleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ? p->device : NULL;
}

CUmemoryPool pool_make_imported(struct device *d, int fd, u64 inode) {
    CUmemoryPool p = pool_make(d, NULL);
    p->imported = true;
    p->fd = fd;
    p->inode = inode;
    return p;
}

int pool_imported_file(CUmemoryPool p, u64 *inode) {
    *inode = p->inode;
    return p->imported ? p->fd : -1;
}

static CUmemoryPool pool_default(struct device *d) {
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (!d->default_pool) {
        CUmemoryPool p = pool_make(d, NULL);
        p->is_default = true;
        d->default_pool = p;
        if (!d->current_pool) d->current_pool = p;
    }
    pthread_mutex_unlock(&once);
    return d->default_pool;
}

CUmemoryPool pool_current(struct device *d) {
    pool_default(d);
    return d->current_pool;
}

/* ---- idle blocks */
static void idle_release(CUmemoryPool p, struct idle **link) {
    struct idle *i = *link;
    *link = i->next;
    p->reserved -= i->block->reserved;
    record_unref(i->ready);
    i->block->size = 0;                  /* its live bytes were given up at the free */
    block_release(i->block);
    free(i);
    atomic_fetch_sub(&pools_with_idle_memory, 1);
}

/* Gives idle memory back until at most `keep` bytes are reserved. What is not ready yet stays. */
static void pool_trim(CUmemoryPool p, u64 keep) {
    for (struct idle **link = &p->idle; *link && p->reserved > keep;) {
        if (record_passed((*link)->ready)) idle_release(p, link);
        else link = &(*link)->next;
    }
}

void pools_trim_idle(struct device *d) {
    pthread_mutex_lock(&pool_lock);
    for (CUmemoryPool p = all; p; p = p->next)
        if (p->device == d) pool_trim(p, 0);
    pthread_mutex_unlock(&pool_lock);
}

void pools_after_synchronization(void) {
    if (!atomic_load_explicit(&pools_with_idle_memory, memory_order_relaxed)) return;
    pthread_mutex_lock(&pool_lock);
    for (CUmemoryPool p = all; p; p = p->next) pool_trim(p, p->threshold);
    pthread_mutex_unlock(&pool_lock);
}

/* Streams die with a context; pools belong to devices and stay, but marks must not outlive their meaning. */
void pools_drop_context(CUcontext c) { (void)c; pools_after_synchronization(); }

/* ---- allocation */
static bool reusable(CUmemoryPool p, const struct idle *i, CUstream s, size_t size) {
    if (i->block->span < size || i->block->reserved > 2 * charge_for(size)) return false;
    return i->stream == s || (p->reuse_opportunistic && record_passed(i->ready));
}

static struct block *take_idle(CUmemoryPool p, CUstream s, size_t size) {
    struct idle **best = NULL;
    for (struct idle **link = &p->idle; *link; link = &(*link)->next)
        if (reusable(p, *link, s, size) && (!best || (*link)->block->span < (*best)->block->span)) best = link;
    if (!best) return NULL;
    struct idle *i = *best;
    struct block *b = i->block;
    *best = i->next;
    record_unref(i->ready);
    free(i);
    atomic_fetch_sub(&pools_with_idle_memory, 1);
    device_charge(p->device, size, 0);   /* its reserve is paid for already */
    pthread_mutex_lock(&memory_lock);
    b->size = size;
    b->id = fresh_id();
    b->readable = b->writable = true;
    pthread_mutex_unlock(&memory_lock);
    return b;
}

static CUresult take_fresh(CUmemoryPool p, CUcontext c, size_t size, struct block **b) {
    if (p->props.maxSize && p->reserved + charge_for(size) > p->props.maxSize) return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&pool_lock);    /* running out of memory trims pools */
    CUresult result = block_allocate(p->device, c, size, BLOCK_ASYNC, b);
    if (result != CUDA_SUCCESS && atomic_load(&work_pending) && atomic_load(&pools_with_idle_memory)) {
        device_synchronize(p->device);   /* what was freed in stream order may be about to become ready */
        result = block_allocate(p->device, c, size, BLOCK_ASYNC, b);
    }
    pthread_mutex_lock(&pool_lock);
    if (result != CUDA_SUCCESS) return result;
    (*b)->owner = p;
    p->reserved += (*b)->reserved;
    p->reserved_high = MAX(p->reserved_high, p->reserved);
    return CUDA_SUCCESS;
}

CUresult pool_allocate(CUmemoryPool p, size_t size, CUstream s, CUdeviceptr *out) {
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&pool_lock);
    struct block *b = take_idle(p, s, size);
    if (!b) result = take_fresh(p, s->context, size, &b);
    if (result == CUDA_SUCCESS) {
        p->used += size;
        p->used_high = MAX(p->used_high, p->used);
        *out = b->base;
    }
    pthread_mutex_unlock(&pool_lock);
    return result;
}

/* ---- free. The block stays valid until its stream gets there; then touching it is an error. */
struct free_body { struct block *block; u64 id; };

static void run_free(struct operation *o) {
    struct free_body *f = BODY(struct free_body, o);
    pthread_mutex_lock(&memory_lock);
    if (f->block->id == f->id) f->block->readable = f->block->writable = false;
    pthread_mutex_unlock(&memory_lock);
}

static struct block *pool_block(CUdeviceptr pointer) {
    pthread_mutex_lock(&memory_lock);
    struct block *b = in_window(pointer) ? space_find(pointer) : NULL;
    bool good = b && b->base == pointer && (b->kind == BLOCK_ASYNC || b->kind == BLOCK_IMPORTED);
    pthread_mutex_unlock(&memory_lock);
    return good ? b : NULL;
}

/* pool_lock held. False when it was freed before. */
static bool make_idle(struct block *b, CUstream s, struct record *ready) {
    CUmemoryPool p = b->owner;
    for (struct idle *i = p->idle; i; i = i->next)
        if (i->block == b) return false;
    struct idle *i = malloc(sizeof *i);
    *i = (struct idle){ p->idle, b, ready, s };
    p->idle = i;
    p->used -= b->size;
    device_uncharge(p->device, b->size, 0);
    atomic_fetch_add(&pools_with_idle_memory, 1);
    return true;
}

static struct record *record_nothing(void) {
    struct record *r = calloc(1, sizeof *r);
    r->refs = 1;
    return r;
}

static void run_release_imported(struct operation *o) { imported_release(BODY(struct free_body, o)->block); }

static CUresult pool_free_ordered(struct block *b, CUstream s) {
    if (b->kind == BLOCK_IMPORTED) {
        struct operation *o = operation_new(s->context, run_release_imported);
        *BODY(struct free_body, o) = (struct free_body){ b, b->id };
        stream_submit(s, o, SUBMIT_INLINE_IF_IDLE);
        return CUDA_SUCCESS;
    }
    pthread_mutex_lock(&pool_lock);
    for (struct idle *i = ((CUmemoryPool)b->owner)->idle; i; i = i->next)
        if (i->block == b) {
            pthread_mutex_unlock(&pool_lock);
            return CUDA_ERROR_INVALID_VALUE;
        }
    struct operation *o = operation_new(s->context, run_free);
    *BODY(struct free_body, o) = (struct free_body){ b, b->id };
    stream_submit(s, o, SUBMIT_INLINE_IF_IDLE);
    make_idle(b, s, mutated(MUTATION_async_free_sync) ? record_nothing() : record_of_stream(s));
    pthread_mutex_unlock(&pool_lock);
    return CUDA_SUCCESS;
}

CUresult pool_free_now(CUdeviceptr pointer) {
    struct block *b = pool_block(pointer);
    if (!b) return CUDA_ERROR_INVALID_VALUE;
    if (b->kind == BLOCK_IMPORTED) {
        imported_release(b);
        return CUDA_SUCCESS;
    }
    pthread_mutex_lock(&pool_lock);
    bool fresh = make_idle(b, NULL, record_nothing());
    if (fresh) b->readable = b->writable = false;
    pthread_mutex_unlock(&pool_lock);
    return fresh ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- the API */
CUresult DRV(cuMemAllocFromPoolAsync)(CUdeviceptr *out, size_t size, CUmemoryPool pool, CUstream handle) {
    CUstream s;
    if (!out || !is(pool, POOL) || pool->imported) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    bool captured;
    TRY(capture_allocation(s, pool->device, size, out, &captured));
    return captured ? CUDA_SUCCESS : pool_allocate(pool, size, s, out);
}

CUresult DRV(cuMemAllocAsync)(CUdeviceptr *out, size_t size, CUstream handle) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    return DRV(cuMemAllocFromPoolAsync)(out, size, pool_current(s->context->device), handle);
}

CUresult DRV(cuMemFreeAsync)(CUdeviceptr pointer, CUstream handle) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    if (!pointer) return CUDA_ERROR_INVALID_VALUE;
    bool captured;
    TRY(capture_free(s, pointer, &captured));
    if (captured) return CUDA_SUCCESS;
    struct block *b = pool_block(pointer);
    return b ? pool_free_ordered(b, s) : graph_memory_free_ordered(pointer, s);
}

CUresult DRV(cuDeviceGetDefaultMemPool)(CUmemoryPool *out, CUdevice d) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    *out = pool_default(device_get(d));
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetMemPool)(CUmemoryPool *out, CUdevice d) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    *out = pool_current(device_get(d));
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceSetMemPool)(CUdevice d, CUmemoryPool pool) {
    if (!device_get(d)) return CUDA_ERROR_INVALID_DEVICE;
    if (!is(pool, POOL) || pool->device != device_get(d)) return CUDA_ERROR_INVALID_VALUE;
    pool_default(pool->device);
    pool->device->current_pool = pool;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolCreate)(CUmemoryPool *out, const CUmemPoolProps *props) {
    if (!out || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
    if (props->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    if (!device_get(props->location.id)) return CUDA_ERROR_INVALID_DEVICE;
    if (props->handleTypes & ~(unsigned)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
    *out = pool_make(device_get(props->location.id), props);
    return CUDA_SUCCESS;
}

/* Returns at once; what is in use is freed as it comes back. The handle is dead only when the last block is. */
CUresult DRV(cuMemPoolDestroy)(CUmemoryPool pool) {
    if (!is(pool, POOL) || pool->is_default || pool->destroyed) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&pool_lock);
    pool->destroyed = true;
    pool->threshold = 0;
    pool_trim(pool, 0);
    if (pool->imported && pool->fd >= 0) close(pool->fd);
    pool->fd = -1;
    if (pool->device->current_pool == pool) pool->device->current_pool = pool->device->default_pool;
    pthread_mutex_unlock(&pool_lock);
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolTrimTo)(CUmemoryPool pool, size_t keep) {
    if (!is(pool, POOL)) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&pool_lock);
    pool_trim(pool, keep);
    pthread_mutex_unlock(&pool_lock);
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolGetAttribute)(CUmemoryPool p, CUmemPool_attribute attribute, void *out) {
    if (!is(p, POOL) || !out) return CUDA_ERROR_INVALID_VALUE;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&pool_lock);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES: *(int *)out = p->reuse_events; break;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC: *(int *)out = p->reuse_opportunistic; break;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: *(int *)out = p->reuse_dependencies; break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *(cuuint64_t *)out = p->threshold; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: *(cuuint64_t *)out = p->reserved; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: *(cuuint64_t *)out = p->reserved_high; break;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: *(cuuint64_t *)out = p->used; break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: *(cuuint64_t *)out = p->used_high; break;
    default: result = CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_unlock(&pool_lock);
    return result;
}

static CUresult reset_high(u64 *high, u64 current, const void *value) {
    if (*(const cuuint64_t *)value != 0) return CUDA_ERROR_INVALID_VALUE;
    *high = current;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolSetAttribute)(CUmemoryPool p, CUmemPool_attribute attribute, void *value) {
    if (!is(p, POOL) || !value) return CUDA_ERROR_INVALID_VALUE;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&pool_lock);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES: p->reuse_events = *(int *)value; break;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC: p->reuse_opportunistic = *(int *)value; break;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: p->reuse_dependencies = *(int *)value; break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: p->threshold = *(cuuint64_t *)value; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: result = reset_high(&p->reserved_high, p->reserved, value); break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: result = reset_high(&p->used_high, p->used, value); break;
    default: result = CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_unlock(&pool_lock);
    return result;
}

CUresult DRV(cuMemPoolSetAccess)(CUmemoryPool p, const CUmemAccessDesc *map, size_t count) {
    if (!is(p, POOL) || (count && !map)) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
        if (!device_get(map[i].location.id)) return CUDA_ERROR_INVALID_DEVICE;
        u64 bit = 1ull << map[i].location.id;
        if (map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE) p->access |= bit;
        else if (map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_NONE && map[i].location.id != p->device->ordinal) p->access &= ~bit;
        else return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolGetAccess)(CUmemAccess_flags *out, CUmemoryPool p, CUmemLocation *location) {
    if (!out || !is(p, POOL) || !location) return CUDA_ERROR_INVALID_VALUE;
    if (location->type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    if (!device_get(location->id)) return CUDA_ERROR_INVALID_DEVICE;
    *out = p->access >> location->id & 1 ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return CUDA_SUCCESS;
}

/* ---- by location (13.0): only devices have pools here */
static CUresult by_location(const CUmemLocation *at, CUmemAllocationType type, struct device **d) {
    if (!at || type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
    if (at->type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    *d = device_get(at->id);
    return *d ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult DRV(cuMemGetDefaultMemPool)(CUmemoryPool *out, CUmemLocation *at, CUmemAllocationType type) {
    struct device *d;
    TRY(by_location(at, type, &d));
    return DRV(cuDeviceGetDefaultMemPool)(out, d->ordinal);
}

CUresult DRV(cuMemGetMemPool)(CUmemoryPool *out, CUmemLocation *at, CUmemAllocationType type) {
    struct device *d;
    TRY(by_location(at, type, &d));
    return DRV(cuDeviceGetMemPool)(out, d->ordinal);
}

CUresult DRV(cuMemSetMemPool)(CUmemLocation *at, CUmemAllocationType type, CUmemoryPool pool) {
    struct device *d;
    TRY(by_location(at, type, &d));
    return DRV(cuDeviceSetMemPool)(d->ordinal, pool);
}
