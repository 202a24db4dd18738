/* pool_ipc.c: pools across processes. An exported pool is a descriptor that says which process's arena it draws from; allocations
 * are handed over one by one as *pointer data*. An importing process may read and write them and must free them; it never
 * allocates from the pool. The exporter's own free is what gives the memory back. */
#define _GNU_SOURCE
#include "control.h"
#include "pool.h"
#include "vmm.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_MAGIC 0x504f4f4cu
struct pointer_data { uint32_t magic, pid; u64 start, inode, offset, size, reserved, id; };
_Static_assert(sizeof(struct pointer_data) <= sizeof(CUmemPoolPtrExportData), "fits the public structure");

CUresult DRV(cuMemPoolExportToShareableHandle)(void *out, CUmemoryPool pool, CUmemAllocationHandleType type, unsigned long long flags) {
    if (!out || flags || !is(pool, POOL)) return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
    struct device *d = pool_exportable(pool);
    if (!d) return CUDA_ERROR_INVALID_VALUE;
    int fd = arena_reopen(d->arena->fd, 0, false);
    if (fd < 0) return CUDA_ERROR_OPERATING_SYSTEM;
    *(int *)out = fd;
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolImportFromShareableHandle)(CUmemoryPool *out, void *handle, CUmemAllocationHandleType type, unsigned long long flags) {
    CUcontext c;
    struct stat st;
    int fd = (int)(intptr_t)handle;
    if (!out || flags) return CUDA_ERROR_INVALID_VALUE;
    if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
    TRY(context_current(&c));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || lseek(fd, 0, SEEK_CUR) != 0) return CUDA_ERROR_INVALID_VALUE;
    int own = arena_reopen(fd, 0, false);
    if (own < 0) return CUDA_ERROR_INVALID_VALUE;
    *out = pool_make_imported(c->device, own, (u64)st.st_ino);
    return CUDA_SUCCESS;
}

CUresult DRV(cuMemPoolExportPointer)(CUmemPoolPtrExportData *out, CUdeviceptr p) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&memory_lock);
    struct block *b = in_window(p) ? space_find(p) : NULL;
    if (b && b->kind == BLOCK_ASYNC && b->base == p && pool_exportable(b->owner)) {
        struct arena *a = b->device->arena;
        struct pointer_data data = { DATA_MAGIC, (uint32_t)getpid(), process_start_time(getpid()), a->inode, b->base - a->base, b->size, b->reserved, b->id };
        memset(out, 0, sizeof *out);
        memcpy(out, &data, sizeof data);
        result = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&memory_lock);
    return result;
}

/* An imported allocation: a block that nobody here pays for. */
CUresult DRV(cuMemPoolImportPointer)(CUdeviceptr *out, CUmemoryPool pool, CUmemPoolPtrExportData *share) {
    CUcontext c;
    struct pointer_data data;
    u64 inode;
    if (!out || !share || !is(pool, POOL)) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    memcpy(&data, share, sizeof data);
    int fd = pool_imported_file(pool, &inode);
    if (data.magic != DATA_MAGIC || fd < 0 || data.inode != inode) return CUDA_ERROR_INVALID_VALUE;
    if (data.pid == (uint32_t)getpid()) return CUDA_ERROR_INVALID_CONTEXT;
    size_t lead = data.offset % PAGE, span = ALIGN_UP(lead + data.size, PAGE);
    pthread_mutex_lock(&memory_lock);
    CUdeviceptr at = zone_take(0, span, PAGE);
    CUresult result = at ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    if (at && !alias_map(at, span, fd, data.offset - lead)) {
        zone_give(at, span);
        result = CUDA_ERROR_MAP_FAILED;
    }
    if (result == CUDA_SUCCESS) {
        struct block *b = block_new();
        *b = (struct block){ .base = at + lead, .size = data.size, .span = span - lead, .extent = data.size, .kind = BLOCK_IMPORTED,
                             .device = c->device, .context = c, .id = fresh_id(), .readable = true, .writable = true, .owner = pool };
        space_publish(b);
        *out = b->base;
    }
    pthread_mutex_unlock(&memory_lock);
    return result;
}

/* The importer's free: the mapping goes, the memory is the exporter's. */
void imported_release(struct block *b) {
    pthread_mutex_lock(&memory_lock);
    CUdeviceptr at = b->base - b->base % PAGE;
    size_t span = b->span + b->base % PAGE;
    space_unpublish(b);
    alias_unmap(at, span);
    zone_give(at, span);
    block_recycle(b);
    pthread_mutex_unlock(&memory_lock);
}
