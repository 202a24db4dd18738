/* give_back.h: memory given back because somebody asked: `coppice trim`, or a co-tenant that is out of memory.
 * Called by the service thread only, and never after the process has begun to end (the driver takes itself down then). */
#ifndef COPPICE_DEVICE_GIVE_BACK_H
#define COPPICE_DEVICE_GIVE_BACK_H
#include <stdint.h>

/* Bytes of cached blocks; of the driver's stream-ordered pools; of page-locked host memory. */
struct given_back { uint64_t device, pools, pinned; };

/* What is cached on the device of this UUID (two words) goes back to the driver; NULL: on every device, and what is pinned. */
struct given_back device_give_back(const uint64_t uuid[2]);
/* POOL_MAX has changed: contexts follow it at once. */
void device_limits_changed(void);
#endif
