/* device.h: what the CUDA hooks call. Each function stands for one of the driver's and answers as that would: the same
 * results, the same errors. Trouble of our own is never an error: then the driver alone answers. Threads: any. */
#ifndef COPPICE_DEVICE_DEVICE_H
#define COPPICE_DEVICE_DEVICE_H
#include "device/context.h"
#include "device/import.h"
#include "device/pinned.h"
#include "device/pool.h"
#include "device/trace_format.h"
#include "device/room.h"
#include "device/weights.h"

/* Who asks for `size` bytes: settles the kind of the allocation that this thread makes next. */
static inline void device_asked(size_t size, const void *caller, enum site_api api) {
    /* one store: what is written in parts and then read as one word costs a hit ten nanoseconds */
    thread_device.kind_word = ((union kind_word){ .kind = kind_of(caller, size, api, SITES_DEVICE) }).word;
}
/* For the runtime's fast path: a hit or nothing (0), and a cached free or nothing (false). */
static inline uint64_t device_hit(size_t size) {
    struct context *c = context_known();
    if (unlikely(!c || size == 0 || !pool_is_open(c) || weights_wanted(size))) return 0;
    uint64_t address = pool_take(c, size, LAYER_RUNTIME);
    thread_device.tried = address == 0;
    return address;
}
static inline bool device_keep(uint64_t address) { return pool_give(address, LAYER_RUNTIME) == POOL_KEPT; }

CUresult device_alloc(CUdeviceptr *address, size_t size);
CUresult device_alloc_pitch(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned element);
CUresult device_free(CUdeviceptr address);
/* Frees by another function of the driver (cuMemFreeAsync): `call` is made while the block is off the books. */
CUresult device_free_by(CUdeviceptr address, CUresult (*call)(CUdeviceptr, CUstream), CUstream stream);
CUresult device_memory_info(size_t *available, size_t *total);
CUresult device_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr address);
/* What the driver said of an allocation, corrected to what the program has: the size that it asked for, and for memory made
 * of pages the block's own beginning and context. */
void device_correct_attribute(CUpointer_attribute attribute, void *value, CUdeviceptr address);
/* As cuIpcGetMemHandle, for memory made of pages (export.h). Where it cannot be shown the answer is the documented one, and from then on
 * blocks of its size are whole driver allocations. */
bool device_is_of_pages(CUdeviceptr address);
CUresult device_show(CUipcMemHandle *handle, CUdeviceptr address);
/* The identity of the allocation around `address` was shown to someone: it is never reused. */
void device_exported(CUdeviceptr address);
/* A context is about to end; afterwards: did it? Then its blocks leave the books, else it goes on. NULL is nobody's. */
void device_context_ended(struct context *c, bool ended);
/* The same for the primary context of a device, which is about to be reset or released. */
void device_primary_closing(CUdevice device);
void device_primary_ended(CUdevice device, bool ended);
bool device_primary_is_active(CUdevice device);
/* The program has waited for a context: for the trace. */
void device_note_synchronize(CUresult answer);
/* The current context may reach the memory of `peer` from now on. */
void device_peer_enabled(struct context *peer);
/* A call that takes or gives memory which the pool does not own has succeeded: for the trace. */
void device_note_other(enum trace_other kind, uint64_t address, uint64_t size, uint64_t extra);
void device_fork_child(void);
#endif
