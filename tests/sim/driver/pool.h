/* pool.h: stream-ordered memory.
 * A *pool* keeps freed blocks for reuse. A freed block remembers the point in its stream after which nothing uses it; the same
 * stream may have it again at once, another when that point has passed (or an event orders it, see pool.c). At every
 * synchronisation what lies idle above the release threshold goes back to the device. */
#ifndef SIM_POOL_H
#define SIM_POOL_H
#include "memory.h"
#include "stream.h"

CUresult pool_allocate(CUmemoryPool pool, size_t size, CUstream stream, CUdeviceptr *out);
CUresult pool_free_now(CUdeviceptr pointer);                 /* by cuMemFree: the program vouches that nothing uses it */
void pools_trim_idle(struct device *device);
void pools_after_synchronization(void);
void pools_drop_context(CUcontext context);
CUmemoryPool pool_current(struct device *device);
struct device *pool_exportable(CUmemoryPool pool);           /* NULL unless made with a shareable handle type */
CUmemoryPool pool_make_imported(struct device *device, int fd, u64 inode);
int pool_imported_file(CUmemoryPool pool, u64 *inode);       /* -1: not imported */
void imported_release(struct block *block);
CUresult graph_memory_free(CUdeviceptr pointer);
struct device *pool_exportable(CUmemoryPool pool);           /* NULL unless made with a shareable handle type */
CUmemoryPool pool_make_imported(struct device *device, int fd, u64 inode);
int pool_imported_file(CUmemoryPool pool, u64 *inode);       /* -1: not imported */
void imported_release(struct block *block);
CUresult graph_memory_free_ordered(CUdeviceptr pointer, CUstream stream);
extern _Atomic int pools_with_idle_memory;
#endif
