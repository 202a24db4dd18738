/* memory.c: cuMemAlloc and its kin, and memory information.
 * Up to 1 MiB a block is charged in steps of 512 B, above in steps of 2 MiB.
 * cuMemFree waits for all work that was submitted before it (it "may synchronise", and programs rely on it), so a freed block
 * is out of use when the call returns; only a context's teardown and stream-ordered frees find other ways. */
#include "memory.h"
#include "control.h"
#include "event.h"
#include "pool.h"
#include "stream.h"
#include "vmm.h"
#include <stdlib.h>
#include <string.h>

/* ---- charging */
u64 sim_set_capacity(int ordinal) { return sim_set->capacity[devices[ordinal].physical]; }

size_t charge_for(size_t size) { return size <= PAGE / 2 ? ALIGN_UP(size, GRAIN) : ALIGN_UP(size, PAGE); }

bool device_charge(struct device *d, u64 live, u64 reserved) {
    return set_charge(sim_set, sim_slot, d->physical, live, reserved);
}

void device_uncharge(struct device *d, u64 live, u64 reserved) { set_uncharge(sim_set, sim_slot, d->physical, live, reserved); }

u64 fresh_id(void) { return __atomic_fetch_add(&sim_set->next_id, 1, __ATOMIC_RELAXED); }

/* ---- lists of blocks, one a context */
static struct block lists[MAX_DEVICES];  /* by device; contexts are few, so teardown filters */

void block_list(struct block *b) {
    struct block *head = &lists[b->device->ordinal];
    b->next = head->next;
    b->prev = head;
    if (head->next) head->next->prev = b;
    head->next = b;
}

void block_unlist(struct block *b) {
    b->prev->next = b->next;
    if (b->next) b->next->prev = b->prev;
}

static bool block_place(struct block *b, size_t size) {
    if (size <= PAGE / 2) return arena_take_small(b->device->arena, size, b);
    b->base = arena_take(b->device->arena, ALIGN_UP(size, PAGE) / PAGE);
    if (!b->base) return false;
    b->span = ALIGN_UP(size, PAGE);
    space_publish(b);
    return true;
}

static bool charge_hard(struct device *d, size_t size, size_t reserved) {
    if (mutated(MUTATION_oom_off_by_one)) reserved = 0;
    if (device_charge(d, size, reserved)) return true;
    pools_trim_idle(d);                  /* what pools hold for nobody comes back before memory is out */
    pthread_mutex_lock(&memory_lock);
    limbo_sweep();
    pthread_mutex_unlock(&memory_lock);
    return device_charge(d, size, reserved);
}

CUresult block_allocate(struct device *d, CUcontext c, size_t size, enum block_kind kind, struct block **out) {
    size_t reserved = charge_for(size);
    if (reserved < size || !charge_hard(d, size, reserved)) return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&memory_lock);
    struct block *b = block_new();
    b->device = d;
    b->context = c;
    b->kind = kind;
    b->size = size;
    b->reserved = mutated(MUTATION_oom_off_by_one) ? 0 : reserved;
    b->readable = b->writable = true;
    bool placed = block_place(b, size) || (limbo_sweep() && block_place(b, size));
    if (placed) {
        b->id = fresh_id();
        b->extent = kind == BLOCK_ASYNC ? b->span : size;
        block_list(b);
    } else block_recycle(b);
    pthread_mutex_unlock(&memory_lock);
    if (!placed) device_uncharge(d, size, reserved);
    *out = b;
    return placed ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Takes the block's addresses out of use and gives its memory back; memory_lock held. */
static void block_unplace(struct block *b) {
    struct arena *a = b->device->arena;
    if (b->shared_id && !shared_let_go(b->shared_id) && !mutated(MUTATION_ipc_reuse)) {
        sim_misuse("memory at %#llx is freed while another process has it open", b->base);
        if (b->span >= PAGE) {
            space_unpublish(b);
            limbo_add(a, b->base, b->span / PAGE, b->shared_id);
        }
        return;                          /* a small slot stays taken for good: rare, and safer than reuse */
    }
    if (b->span < PAGE) arena_give_small(b);
    else {
        space_unpublish(b);
        arena_give(a, b->base, b->span / PAGE, b->dirty);
    }
}

void block_release(struct block *b) {
    pthread_mutex_lock(&memory_lock);
    struct device *d = b->device;
    u64 size = b->size, reserved = b->reserved;
    bool pays = !b->shared_id;           /* a shared block's charge went with shared_let_go */
    block_unlist(b);
    block_unplace(b);
    block_recycle(b);
    pthread_mutex_unlock(&memory_lock);
    if (pays) device_uncharge(d, size, reserved);
}

void memory_drop_context(CUcontext c) {
    pools_drop_context(c);
    host_drop_context(c);
    for (;;) {
        struct block *found = NULL;
        pthread_mutex_lock(&memory_lock);
        for (struct block *b = lists[c->device->ordinal].next; b && !found; b = b->next)
            if (b->context == c && b->kind == BLOCK_PLAIN) found = b;
        pthread_mutex_unlock(&memory_lock);
        if (!found) break;
        block_release(found);
    }
}

/* ---- the API */
CUresult DRV(cuMemAlloc_v2)(CUdeviceptr *out, size_t size) {
    CUcontext c;
    struct block *b;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (size == 0) {
        if (!mutated(MUTATION_size_zero)) return CUDA_ERROR_INVALID_VALUE;
        *out = 0;
        return CUDA_SUCCESS;
    }
    TRY(context_current(&c));
    TRY(block_allocate(c->device, c, size, BLOCK_PLAIN, &b));
    *out = b->base;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemAllocPitch_v2)(CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned element) {
    CUcontext c;
    struct block *b;
    if (!out || !pitch || !width || !height) return CUDA_ERROR_INVALID_VALUE;
    if (element != 4 && element != 8 && element != 16) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    size_t p = ALIGN_UP(width, GRAIN), total;
    if (p < width || __builtin_mul_overflow(p, height, &total)) return CUDA_ERROR_OUT_OF_MEMORY;
    TRY(block_allocate(c->device, c, total, BLOCK_PLAIN, &b));
    *out = b->base;
    *pitch = p;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemAllocManaged)(CUdeviceptr *out, size_t size, unsigned flags) {
    CUcontext c;
    void *p;
    if (!out || !size || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST)) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    TRY(host_allocate(c, size, HOST_MANAGED, flags, &p));
    *out = (CUdeviceptr)(uintptr_t)p;
    return CUDA_SUCCESS;
}

static CUresult free_managed(CUdeviceptr pointer) {
    struct host_range r;
    if (!host_find((void *)(uintptr_t)pointer, &r) || r.kind != HOST_MANAGED || r.base != pointer) return CUDA_ERROR_INVALID_VALUE;
    device_synchronize(r.device);
    return host_release((void *)(uintptr_t)pointer, HOST_MANAGED);
}

CUresult DRV(cuMemFree_v2)(CUdeviceptr pointer) {
    CUcontext c;
    TRY(context_current(&c));
    if (!pointer) return CUDA_SUCCESS;
    if (!in_window(pointer)) return free_managed(pointer);
    pthread_mutex_lock(&memory_lock);
    struct block *b = space_find(pointer);
    bool good = b && (b->base == pointer || mutated(MUTATION_interior_free));
    enum block_kind kind = b ? b->kind : BLOCK_PLAIN;
    pthread_mutex_unlock(&memory_lock);
    if (!good && !b && mutated(MUTATION_double_free)) return CUDA_SUCCESS;
    if (!good) return CUDA_ERROR_INVALID_VALUE;
    if (kind == BLOCK_ASYNC || kind == BLOCK_IMPORTED) return pool_free_now(pointer);
    if (kind == BLOCK_GRAPH) {
        if (atomic_load(&work_pending)) device_synchronize(b->device);   /* the launch that allocates it may be on its way */
        return graph_memory_free(pointer);
    }
    if (kind != BLOCK_PLAIN) return CUDA_ERROR_INVALID_VALUE;
    if (atomic_load(&work_pending) && !mutated(MUTATION_reuse_before_fence)) device_synchronize(b->device);
    block_release(b);
    return (CUresult)atomic_load(&c->error);
}

CUresult DRV(cuMemGetInfo_v2)(size_t *free_bytes, size_t *total) {
    CUcontext c;
    TRY(context_current(&c));
    int d = c->device->physical;
    pthread_mutex_lock(&memory_lock);
    limbo_sweep();
    pthread_mutex_unlock(&memory_lock);
    set_lock(sim_set);
    set_reap(sim_set);
    u64 capacity = sim_set->capacity[d], reserved = mutated(MUTATION_mem_info) ? 0 : sim_set->dev[d].reserved;
    set_unlock(sim_set);
    if (free_bytes) *free_bytes = capacity > reserved ? capacity - reserved : 0;
    if (total) *total = capacity;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemGetAddressRange_v2)(CUdeviceptr *base, size_t *size, CUdeviceptr pointer) {
    CUcontext c;
    TRY(context_current(&c));
    struct host_range r;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&memory_lock);
    struct block *b = space_find(pointer);
    if (b) {
        if (base) *base = b->base;
        if (size) *size = b->size;
    } else result = CUDA_ERROR_NOT_FOUND;
    pthread_mutex_unlock(&memory_lock);
    if (result == CUDA_SUCCESS || !host_find((void *)(uintptr_t)pointer, &r)) return result;
    if (base) *base = r.base;
    if (size) *size = r.size;
    return CUDA_SUCCESS;
}

/* ---- memory that other processes may hold. The set keeps one object for it; we are one holder. */
u64 shared_make(struct device *d, u64 inode, u64 offset, u64 live, u64 reserved, u64 flags) {
    u64 id = 0;
    set_lock(sim_set);
    struct set_object *o = set_object_find(sim_set, inode, offset);
    for (uint32_t i = 0; i < sim_set->objects_used && !o; i++)
        if (!sim_set->object[i].used) o = &sim_set->object[i];
    if (!o && sim_set->objects_used < SET_OBJECTS) o = &sim_set->object[sim_set->objects_used++];
    if (o) {
        id = sim_set->next_id++;
        *o = (struct set_object){ .used = 1, .device = (uint32_t)d->physical, .id = id, .live = live, .reserved = reserved,
                                  .holders = 1ull << sim_slot, .charged = (uint32_t)sim_slot, .inode = inode, .offset = offset,
                                  .flags = flags };
    }
    set_unlock(sim_set);
    return id;
}

static void charge_move(struct set_object *o, int from, int to) {
    struct set_usage *f = &sim_set->slot[from].dev[o->device], *t = &sim_set->slot[to].dev[o->device];
    f->live -= o->live, f->reserved -= o->reserved;
    t->live += o->live, t->reserved += o->reserved;
    t->peak_live = MAX(t->peak_live, t->live);
    t->peak_reserved = MAX(t->peak_reserved, t->reserved);
    o->charged = (uint32_t)to;
}

bool shared_let_go(u64 id) {
    bool last = true;
    set_lock(sim_set);
    set_reap(sim_set);
    struct set_object *o = set_object_by_id(sim_set, id);
    if (o) {
        o->holders &= ~(1ull << sim_slot);
        last = o->holders == 0;
        if (!last && o->charged == (uint32_t)sim_slot) charge_move(o, sim_slot, __builtin_ctzll(o->holders));
        if (last) {
            struct set_usage *u = &sim_set->slot[o->charged].dev[o->device], *d = &sim_set->dev[o->device];
            u->live -= o->live, u->reserved -= o->reserved;
            d->live -= o->live, d->reserved -= o->reserved;
            u->frees++, d->frees++;
            o->used = 0;
        }
    }
    set_unlock(sim_set);
    return last;
}

static struct limbo { struct limbo *next; struct arena *arena; CUdeviceptr base; size_t pages; u64 id; bool described; } *limbo;

void limbo_add(struct arena *a, CUdeviceptr base, size_t pages, u64 id) {
    struct limbo *l = malloc(sizeof *l);
    *l = (struct limbo){ limbo, a, base, pages, id, false };
    limbo = l;
}

void limbo_add_described(struct arena *a, CUdeviceptr base, size_t pages, u64 id) {
    limbo_add(a, base, pages, id);
    limbo->described = true;
}

/* Descriptors that were open when their memory was released may be closed now. */
static void let_undescribed_go(void) {
    for (struct limbo *l = limbo; l; l = l->next)
        if (l->described && !export_open_somewhere(l->arena->fd, l->base - l->arena->base)) l->described = false, shared_let_go(l->id);
}

bool limbo_sweep(void) {
    bool some = false;
    if (!limbo) return false;
    let_undescribed_go();
    set_lock(sim_set);
    set_reap(sim_set);
    for (struct limbo **p = &limbo; *p;) {
        struct limbo *l = *p;
        struct set_object *o = set_object_by_id(sim_set, l->id);
        if (o && o->holders) {
            p = &l->next;
            continue;
        }
        arena_give(l->arena, l->base, l->pages, true);
        *p = l->next;
        free(l);
        some = true;
    }
    set_unlock(sim_set);
    return some;
}
