/* memory.h: blocks as the API hands them out (memory.c), host memory (host.c), and letting go of memory in use elsewhere. */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H
#include "space.h"

/* Charged to the device, zeroed, published, on the context's list. */
CUresult block_allocate(struct device *device, CUcontext context, size_t size, enum block_kind kind, struct block **out);
void block_release(struct block *block);                     /* at once: the caller knows that no work needs it */
void block_list(struct block *block);                        /* memory_lock held */
void block_unlist(struct block *block);
void memory_drop_context(CUcontext context);
size_t charge_for(size_t size);                              /* what an allocation takes from the capacity */
bool device_charge(struct device *device, u64 live, u64 reserved);
void device_uncharge(struct device *device, u64 live, u64 reserved);
u64 fresh_id(void);

/* Memory that another process may still hold when we let go of it: kept out of use until it does not. */
void limbo_add(struct arena *arena, CUdeviceptr base, size_t pages, u64 shared_id);
void limbo_add_described(struct arena *arena, CUdeviceptr base, size_t pages, u64 shared_id); /* ours while an exported descriptor is open */
bool limbo_sweep(void);                                      /* memory_lock held; true when something came back */
bool shared_let_go(u64 shared_id);                           /* true: nobody else holds it, and the charge is gone */
u64 shared_make(struct device *device, u64 inode, u64 offset, u64 live, u64 reserved, u64 flags);

/* ---- host.c */
enum host_kind { HOST_PINNED, HOST_REGISTERED, HOST_MANAGED };
struct host_range { uintptr_t base; size_t size; enum host_kind kind; unsigned flags; CUcontext context; u64 id; struct device *device;
                    u64 reserved; bool sync_memops; };
bool host_find(const void *pointer, struct host_range *out); /* the range that holds this address */
bool host_is_pinned(const void *pointer, size_t size);
CUresult host_allocate(CUcontext context, size_t size, enum host_kind kind, unsigned flags, void **out);
CUresult host_release(void *pointer, enum host_kind kind);
void host_drop_context(CUcontext context);
#endif
