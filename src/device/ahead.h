/* ahead.h: device memory that is taken before it is asked for.
 * EMOTIONAL_RESERVE bytes a device are kept ready for emotional requests, so that they need not wait for the driver. A block
 * serves requests of about its size, so the pool learns which: the size that last found nothing. The service thread takes
 * what is missing once a second, never on a program's thread, and only memory that is free: nothing is given up for it. */
#ifndef COPPICE_DEVICE_AHEAD_H
#define COPPICE_DEVICE_AHEAD_H
#include "device/context.h"

/* An emotional request of this size had to ask the driver. */
static inline void ahead_missed(struct context *c, uint64_t size) { atomic_store_explicit(&c->ahead_size, size, memory_order_relaxed); }
/* Takes what is missing from the reserve. From the service thread, while the pool is open. */
void ahead_fill(struct context *c);
#endif
