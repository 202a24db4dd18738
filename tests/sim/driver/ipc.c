/* ipc.c: legacy memory handles. A handle says which process's arena file holds the memory and where; opening it maps that part
 * of the file. The file is reached through /proc/<pid>/fd, so the exporter must be alive; what is mapped stays when it dies.
 * The whole allocation is exported: a handle made from an interior pointer opens at its base. */
#define _GNU_SOURCE
#include "control.h"
#include "event.h"
#include "vmm.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IPC_MAGIC 0x4d504953u
struct memory_handle { uint32_t magic, pid; u64 start; int32_t fd; uint32_t device; u64 inode, offset, size, id; };
_Static_assert(sizeof(struct memory_handle) <= CU_IPC_HANDLE_SIZE, "fits the public handle");

struct opened { struct opened *next; u64 id; struct block *block; CUdeviceptr reserved; size_t reserved_size; int count; CUcontext context; };
static struct opened *opened;            /* guarded by memory_lock */

CUresult DRV(cuIpcGetMemHandle)(CUipcMemHandle *out, CUdeviceptr p) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    struct block *b = in_window(p) ? space_find(p) : NULL;
    if (b && b->kind == BLOCK_PLAIN) {
        struct arena *a = b->device->arena;
        u64 offset = b->base - a->base;
        if (!b->shared_id) b->shared_id = shared_make(b->device, a->inode, offset, b->size, b->reserved, 0);
        struct memory_handle h = { IPC_MAGIC, (uint32_t)getpid(), process_start_time(getpid()), a->fd, (uint32_t)b->device->physical,
                                   a->inode, offset, b->size, b->shared_id };
        memset(out, 0, sizeof *out);
        memcpy(out, &h, sizeof h);
        b->exported = true;
        result = b->shared_id ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    pthread_mutex_unlock(&memory_lock);
    return result;
}

static int exporter_file(const struct memory_handle *h) {
    char path[64];
    struct stat st;
    if (process_start_time((int)h->pid) != h->start) return -1;
    snprintf(path, sizeof path, "/proc/%u/fd/%d", h->pid, h->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) != 0 || (u64)st.st_ino != h->inode)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool hold(u64 id) {
    set_lock(sim_set);
    struct set_object *o = set_object_by_id(sim_set, id);
    if (o) o->holders |= 1ull << sim_slot;
    set_unlock(sim_set);
    return o != NULL;
}

static CUresult open_foreign(const struct memory_handle *h, CUcontext c, struct opened **out) {
    int fd = exporter_file(h);
    if (fd < 0) return CUDA_ERROR_INVALID_VALUE;
    size_t lead = h->offset % PAGE, span = ALIGN_UP(lead + h->size, PAGE);
    CUdeviceptr at = zone_take(0, span, PAGE);
    CUresult result = CUDA_SUCCESS;
    if (!at) result = CUDA_ERROR_OUT_OF_MEMORY;
    else if (!hold(h->id)) result = CUDA_ERROR_INVALID_VALUE;
    else if (!alias_map(at, span, fd, h->offset - lead)) {
        shared_let_go(h->id);
        result = CUDA_ERROR_MAP_FAILED;
    }
    close(fd);
    if (result != CUDA_SUCCESS) {
        if (at) zone_give(at, span);
        return result;
    }
    struct block *b = block_new();
    *b = (struct block){ .base = at + lead, .size = h->size, .span = span - lead, .extent = h->size, .kind = BLOCK_IPC, .device = c->device, .context = c,
                         .id = fresh_id(), .readable = true, .writable = true, .shared_id = h->id };
    space_publish(b);
    struct opened *o = malloc(sizeof *o);
    *o = (struct opened){ opened, h->id, b, at, span, 1, c };
    opened = o;
    *out = o;
    return CUDA_SUCCESS;
}

CUresult DRV(cuIpcOpenMemHandle_v2)(CUdeviceptr *out, CUipcMemHandle handle, unsigned flags) {
    CUcontext c;
    struct memory_handle h;
    if (!out || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    memcpy(&h, &handle, sizeof h);
    if (h.magic != IPC_MAGIC) return CUDA_ERROR_INVALID_VALUE;
    if (h.pid == (uint32_t)getpid()) return CUDA_ERROR_INVALID_CONTEXT;
    if (h.device != (uint32_t)c->device->physical) return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&memory_lock);
    struct opened *o = opened;
    while (o && (o->id != h.id || o->context != c)) o = o->next;
    CUresult result = CUDA_SUCCESS;
    if (o) o->count++;
    else result = open_foreign(&h, c, &o);
    if (result == CUDA_SUCCESS) *out = o->block->base;
    pthread_mutex_unlock(&memory_lock);
    return result;
}

CUresult DRV(cuIpcOpenMemHandle)(CUdeviceptr *out, CUipcMemHandle handle, unsigned flags) { return DRV(cuIpcOpenMemHandle_v2)(out, handle, flags); }

CUresult DRV(cuIpcCloseMemHandle)(CUdeviceptr p) {
    CUcontext c;
    TRY(context_current(&c));
    device_synchronize(c->device);
    pthread_mutex_lock(&memory_lock);
    struct opened **link = &opened;
    while (*link && (*link)->block->base != p) link = &(*link)->next;
    struct opened *o = *link;
    if (o && --o->count == 0) {
        *link = o->next;
        space_unpublish(o->block);
        alias_unmap(o->reserved, o->reserved_size);
        zone_give(o->reserved, o->reserved_size);
        u64 id = o->id;
        block_recycle(o->block);
        free(o);
        bool other_context = false;
        for (struct opened *x = opened; x; x = x->next) other_context |= x->id == id;
        if (!other_context) shared_let_go(id);
        o = (struct opened *)1;
    }
    pthread_mutex_unlock(&memory_lock);
    return o ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
