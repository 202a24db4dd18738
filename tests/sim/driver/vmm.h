/* vmm.h: the virtual memory API.
 * reservation  a range of the window's free zone, owned by the program (or by us, for memory of other processes)
 * physical     a handle: memory without an address. It lives while it has references, mappings, holders in other processes,
 *              or exported descriptors that are still open anywhere
 * mapping      a block over a physical */
#ifndef SIM_VMM_H
#define SIM_VMM_H
#include "memory.h"

CUdeviceptr zone_take(CUdeviceptr wanted, size_t size, size_t alignment);    /* 0: no room. memory_lock held */
bool zone_give(CUdeviceptr base, size_t size);                              /* exactly as taken; memory_lock held */
bool zone_covers(CUdeviceptr base, size_t size);
bool zone_of(CUdeviceptr pointer, CUdeviceptr *base, size_t *size);
bool alias_map(CUdeviceptr at, size_t size, int fd, u64 offset);             /* makes foreign or physical memory visible to us */
void alias_unmap(CUdeviceptr at, size_t size);
int arena_reopen(int fd, u64 offset, bool locked);                           /* a descriptor of its own, positioned, -1 on failure */
bool export_open_somewhere(int fd, u64 offset);                              /* is an exported descriptor for that offset alive? */
#endif
