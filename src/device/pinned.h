/* pinned.h: page-locked host memory, kept for the next request as device memory is: pinning costs the driver far more.
 *
 * A *pin* is one driver allocation of page-locked memory. Its *kind* is how it was asked for: the flags of cuMemHostAlloc
 * (portable, mapped, write-combined), or cuMemAllocHost. A cached pin serves the same context and the same kind only, so
 * what the driver says of its flags and its device address stays true; a portable one too, because it ends with the context
 * that made it. It keeps the NUMA node that its first owner got.
 *
 *     LIVE ──free──► CACHED (pending behind its epoch, then ready) ──reuse──► LIVE
 *       └──────────────┴──► BUSY ──► back to the driver
 *
 * The fence is the device's (fence.h): kernels and copies that read or write the memory are work, and host functions run
 * in streams. At most PINNED_MAX is cached by the process, and no more than demand is worth. One lock for all of it: these
 * requests are rare, and each used to be a system call or more. Threads: any.
 *
 *     reserved = live + rounding + cached, as for device memory */
#ifndef COPPICE_DEVICE_PINNED_H
#define COPPICE_DEVICE_PINNED_H
#include "device/context.h"

enum { PINNED_FLAGS = 7, PINNED_PLAIN = 8 }; /* kinds: the flags 0..7, or PLAIN for cuMemAllocHost; other flags are not pooled */

/* Stand for cuMemHostAlloc, or cuMemAllocHost_v2 (plain), and for cuMemFreeHost. */
CUresult pinned_alloc(void **address, size_t size, unsigned flags, bool plain);
CUresult pinned_free(void *address);

/* What is known of the pin around an address. */
struct pinned_facts { uint64_t base, asked; bool cached; };
bool pinned_find(uint64_t address, struct pinned_facts *facts);
/* The identity of the pin around `address` was shown to someone: it is never reused. False: it is none of ours. */
bool pinned_taint(uint64_t address);

/* All that is cached goes back to the driver. Returns the bytes. */
uint64_t pinned_give_back(void);
/* From the service thread, while the device is idle: what demand is no longer worth goes back; all that is not in use just
 * now, where host memory is tight. Returns the bytes. */
uint64_t pinned_chore(bool tight);
/* The context is gone, and its pins with it. */
void pinned_context_ended(struct context *c);
void pinned_fork_child(void);
#endif
