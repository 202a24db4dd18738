/* vmm.c: reserve, create, map, set access, unmap, release, retain, export and import. Nouns in vmm.h. */
#define _GNU_SOURCE
#include "vmm.h"
#include "control.h"
#include "stream.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct physical {
    struct object object;
    struct physical *next;               /* all that this process knows */
    struct device *device;
    size_t size;
    int references, mappings;
    CUmemAllocationProp prop;
    CUdeviceptr own;                     /* where it lies in our arena; 0 when it is another process's */
    int fd;                              /* of that process's arena */
    u64 inode, offset, shared_id;
    bool exported;
};
static struct physical *all;

static struct physical *physical_of(CUmemGenericAllocationHandle h) {
    struct physical *p = (struct physical *)(uintptr_t)h;
    return is(p, PHYSICAL) && (p->references > 0) ? p : NULL;
}

static int backing(const struct physical *p) { return p->own ? p->device->arena->fd : p->fd; }

/* Under memory_lock. Memory that another process holds, or may still import from an open descriptor, waits in limbo. */
static void physical_free(struct physical *p) {
    for (struct physical **q = &all; *q; q = &(*q)->next)
        if (*q == p) {
            *q = p->next;
            break;
        }
    struct arena *a = p->device->arena;
    if (!p->own) {
        shared_let_go(p->shared_id);
        close(p->fd);
    } else if (!p->shared_id) {
        arena_give(a, p->own, p->size / PAGE, true);
        device_uncharge(p->device, p->size, p->size);
    } else if (export_open_somewhere(a->fd, p->offset)) {
        limbo_add_described(a, p->own, p->size / PAGE, p->shared_id); /* still charged to us */
    } else if (shared_let_go(p->shared_id)) arena_give(a, p->own, p->size / PAGE, true);
    else limbo_add(a, p->own, p->size / PAGE, p->shared_id);
    object_free(p);
}

static void physical_settle(struct physical *p) {
    if (p->references == 0 && (p->mappings == 0 || mutated(MUTATION_unmap_in_use))) physical_free(p);
}

/* ---- granularity, creation, release */
static CUresult check_prop(const CUmemAllocationProp *p, struct device **d) {
    if (!p || p->type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
    if (p->location.type == CU_MEM_LOCATION_TYPE_HOST || p->location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA) return CUDA_ERROR_NOT_SUPPORTED;
    if (p->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
    *d = device_get(p->location.id);
    if (!*d) return CUDA_ERROR_INVALID_DEVICE;
    if (p->requestedHandleTypes & ~(unsigned)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemGetAllocationGranularity)(size_t *out, const CUmemAllocationProp *prop, CUmemAllocationGranularity_flags option) {
    struct device *d;
    if (!out || (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM && option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)) return CUDA_ERROR_INVALID_VALUE;
    TRY(check_prop(prop, &d));
    *out = PAGE;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemCreate)(CUmemGenericAllocationHandle *out, size_t size, const CUmemAllocationProp *prop, unsigned long long flags) {
    struct device *d;
    if (!out || flags || !size || size % PAGE) return CUDA_ERROR_INVALID_VALUE;
    TRY(check_prop(prop, &d));
    if (!device_charge(d, size, size)) {
        pthread_mutex_lock(&memory_lock);
        limbo_sweep();
        pthread_mutex_unlock(&memory_lock);
        if (!device_charge(d, size, size)) return CUDA_ERROR_OUT_OF_MEMORY;
    }
    pthread_mutex_lock(&memory_lock);
    CUdeviceptr own = arena_take(d->arena, size / PAGE);
    struct physical *p = own ? object_new(PHYSICAL, sizeof *p) : NULL;
    if (p) {
        p->device = d, p->size = size, p->references = 1, p->prop = *prop, p->own = own, p->fd = -1;
        p->inode = d->arena->inode, p->offset = own - d->arena->base;
        p->next = all;
        all = p;
    }
    pthread_mutex_unlock(&memory_lock);
    if (!p) {
        device_uncharge(d, size, size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *out = (CUmemGenericAllocationHandle)(uintptr_t)p;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemRelease)(CUmemGenericAllocationHandle handle) {
    pthread_mutex_lock(&memory_lock);
    struct physical *p = physical_of(handle);
    if (p) {
        p->references--;
        physical_settle(p);
    }
    pthread_mutex_unlock(&memory_lock);
    return p ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static struct block *mapping_at(CUdeviceptr p) {
    struct block *b = space_find(p);
    return b && b->kind == BLOCK_MAPPING ? b : NULL;
}

CUresult DRV(cuMemRetainAllocationHandle)(CUmemGenericAllocationHandle *out, void *address) {
    if (!out || !address) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    struct block *b = mapping_at((CUdeviceptr)(uintptr_t)address);
    struct physical *p = b ? b->owner : NULL;
    if (p) p->references++;
    pthread_mutex_unlock(&memory_lock);
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    *out = (CUmemGenericAllocationHandle)(uintptr_t)p;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemGetAllocationPropertiesFromHandle)(CUmemAllocationProp *out, CUmemGenericAllocationHandle handle) {
    struct physical *p = physical_of(handle);
    if (!out || !p) return CUDA_ERROR_INVALID_VALUE;
    *out = p->prop;
    return CUDA_SUCCESS;
}

/* ---- reservations */
CUresult DRV(cuMemAddressReserve)(CUdeviceptr *out, size_t size, size_t alignment, CUdeviceptr wanted, unsigned long long flags) {
    if (!out || !size || size % PAGE || flags || (alignment & (alignment - 1))) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    CUdeviceptr p = zone_take(wanted, size, alignment);
    pthread_mutex_unlock(&memory_lock);
    if (!p) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = p;
    return CUDA_SUCCESS;
}

static bool any_mapped(CUdeviceptr base, size_t size) {
    for (CUdeviceptr p = base; p < base + size; p += PAGE)
        if (space_page(p)) return true;
    return false;
}

CUresult DRV(cuMemAddressFree)(CUdeviceptr base, size_t size) {
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    if (!size || !in_window(base)) return result;
    pthread_mutex_lock(&memory_lock);
    CUdeviceptr at;
    size_t n;
    if (zone_of(base, &at, &n) && at == base && n == size && !any_mapped(base, size) && zone_give(base, size)) result = CUDA_SUCCESS;
    pthread_mutex_unlock(&memory_lock);
    return result;
}

/* ---- mappings */
CUresult DRV(cuMemMap)(CUdeviceptr at, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags) {
    if (flags || offset || !size || size % PAGE || at % PAGE || !in_window(at)) return CUDA_ERROR_INVALID_VALUE;
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    struct physical *p = physical_of(handle);
    if (p && size <= p->size && zone_covers(at, size) && !any_mapped(at, size)) {
        result = alias_map(at, size, backing(p), p->offset) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == CUDA_SUCCESS) {
        struct block *b = block_new();
        *b = (struct block){ .base = at, .size = size, .span = size, .extent = size, .kind = BLOCK_MAPPING, .device = p->device, .owner = p, .id = fresh_id() };
        p->mappings++;
        space_publish(b);
    }
    pthread_mutex_unlock(&memory_lock);
    return result;
}

/* Is [at, at+size) a union of whole mappings? */
static bool whole_mappings(CUdeviceptr at, size_t size) {
    CUdeviceptr p = at, end = at + size;
    while (p < end) {
        struct block *b = mapping_at(p);
        if (!b || b->base != p || (p + b->size > end && !mutated(MUTATION_partial_unmap))) return false;
        p += b->size;
    }
    return true;
}

CUresult DRV(cuMemUnmap)(CUdeviceptr at, size_t size) {
    if (!size || size % PAGE || at % PAGE || !in_window(at)) return CUDA_ERROR_INVALID_VALUE;
    if (atomic_load(&work_pending)) device_synchronize(NULL);
    pthread_mutex_lock(&memory_lock);
    bool whole = whole_mappings(at, size);
    for (CUdeviceptr p = at; whole && p < at + size;) {
        struct block *b = mapping_at(p);
        struct physical *physical = b->owner;
        p += b->size;
        space_unpublish(b);
        alias_unmap(b->base, b->size);
        block_recycle(b);
        physical->mappings--;
        physical_settle(physical);
    }
    pthread_mutex_unlock(&memory_lock);
    return whole ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuMemSetAccess)(CUdeviceptr at, size_t size, const CUmemAccessDesc *access, size_t n) {
    if (!size || size % PAGE || at % PAGE || !access || !n || !in_window(at)) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < n; i++) {
        if (access[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
        if (!device_get(access[i].location.id)) return CUDA_ERROR_INVALID_DEVICE;
        if (access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE && access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
            access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) return CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_lock(&memory_lock);
    bool whole = whole_mappings(at, size);
    for (CUdeviceptr p = at; whole && p < at + size;) {
        struct block *b = mapping_at(p);
        for (size_t i = 0; i < n; i++) {
            u64 bit = 1ull << access[i].location.id;
            bool can_read = access[i].flags & CU_MEM_ACCESS_FLAGS_PROT_READ, can_write = access[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
            b->seen_by = can_read ? b->seen_by | bit : b->seen_by & ~bit;
            b->readable = can_read || b->seen_by;
            b->writable = can_write || (b->writable && b->seen_by & ~bit);
        }
        p += b->size;
    }
    pthread_mutex_unlock(&memory_lock);
    return whole ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult DRV(cuMemGetAccess)(unsigned long long *out, const CUmemLocation *location, CUdeviceptr at) {
    if (!out || !location) return CUDA_ERROR_INVALID_VALUE;
    if (location->type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    if (!device_get(location->id)) return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&memory_lock);
    struct block *b = mapping_at(at);
    if (b) {
        bool seen = b->seen_by >> location->id & 1;
        *out = !seen ? CU_MEM_ACCESS_FLAGS_PROT_NONE : b->writable ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_READ;
    }
    pthread_mutex_unlock(&memory_lock);
    return b ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- across processes */
CUresult DRV(cuMemExportToShareableHandle)(void *out, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type, unsigned long long flags) {
    if (!out || flags) return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    struct physical *p = physical_of(handle);
    if (p && p->prop.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) {
        if (!p->shared_id) p->shared_id = shared_make(p->device, p->inode, p->offset, p->size, p->size, p->prop.requestedHandleTypes);
        int fd = p->shared_id ? arena_reopen(backing(p), p->offset, true) : -1;
        if (fd >= 0) *(int *)out = fd;
        result = fd >= 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
    }
    pthread_mutex_unlock(&memory_lock);
    return result;
}

static struct physical *physical_known(u64 inode, u64 offset) {
    struct physical *p = all;
    while (p && (p->inode != inode || p->offset != offset)) p = p->next;
    return p;
}

/* Joins the holders of that object. When its owner died before anybody imported it, the importer pays for it anew. */
static u64 join_object(u64 inode, u64 offset, struct set_object *copy) {
    set_lock(sim_set);
    set_reap(sim_set);
    struct set_object *o = set_object_find(sim_set, inode, offset);
    u64 id = o ? o->id : 0;
    if (o) {
        o->holders |= 1ull << sim_slot;
        *copy = *o;
    }
    set_unlock(sim_set);
    return id;
}

static struct device *device_by_physical(unsigned index) {
    for (int d = 0; d < device_count; d++)
        if (devices[d].physical == (int)index) return &devices[d];
    return NULL;
}

static struct physical *physical_import(int fd, u64 inode, u64 offset) {
    struct set_object o;
    u64 id = join_object(inode, offset, &o);
    struct device *d = id ? device_by_physical(o.device) : NULL;
    int own = d ? arena_reopen(fd, offset, false) : -1;
    if (own < 0) return NULL;
    struct physical *p = object_new(PHYSICAL, sizeof *p);
    p->device = d, p->size = o.reserved, p->fd = own, p->inode = inode, p->offset = offset, p->shared_id = id;
    p->prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    p->prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p->prop.location.id = d->ordinal;
    p->prop.requestedHandleTypes = (CUmemAllocationHandleType)o.flags;
    p->next = all;
    all = p;
    return p;
}

CUresult DRV(cuMemImportFromShareableHandle)(CUmemGenericAllocationHandle *out, void *os_handle, CUmemAllocationHandleType type) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
    struct stat st;
    int fd = (int)(intptr_t)os_handle;
    off_t offset = fstat(fd, &st) == 0 ? lseek(fd, 0, SEEK_CUR) : -1;
    if (offset < 0) return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    struct physical *p = physical_known((u64)st.st_ino, (u64)offset);
    if (!p) p = physical_import(fd, (u64)st.st_ino, (u64)offset);
    if (p) p->references++;
    pthread_mutex_unlock(&memory_lock);
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    *out = (CUmemGenericAllocationHandle)(uintptr_t)p;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemGetHandleForAddressRange)(void *out, CUdeviceptr at, size_t size, CUmemRangeHandleType type, unsigned long long flags) {
    (void)out, (void)at, (void)size, (void)type, (void)flags;
    return CUDA_ERROR_NOT_SUPPORTED;     /* the device says that it has no dma-buf */
}
