/* capture.h: stream captures, which the pool must not disturb.
 * While any stream of the process captures, recording or querying an event could invalidate the capture, memory freed
 * in it may belong to the graph, and cudaMalloc may be illegal: then nothing is cached, nothing is reused, and every
 * call reaches the driver as it would without us. A capture begins under a lock that event recording holds too, so
 * that no event is recorded between the beginning of a capture and our knowledge of it. */
#ifndef COPPICE_DEVICE_CAPTURE_H
#define COPPICE_DEVICE_CAPTURE_H
#include "device/driver.h"
#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic uint32_t capture_count;
static inline bool capture_active(void) { return atomic_load_explicit(&capture_count, memory_order_acquire) > 0; }

/* Keeps captures from beginning; false (and nothing held) when one is active. */
bool capture_keep_out(void);
void capture_let_in(void);
/* Around a wait of ours for a whole context, which would invalidate a capture if it were called during one, and which may
 * take so long that no lock can be held: a capture that begins meanwhile waits until the call has surely been entered.
 * False, and nothing to end: a capture is active. */
bool capture_wait_begins(void);
void capture_wait_ends(void);
/* Around calls of ours that disturb no capture though the driver might think so: false when the mode could not be changed. */
bool capture_relax(void);
void capture_unrelax(bool relaxed);
/* Around the real begin call: before, then after with its result. */
void capture_before_begin(void);
void capture_after_begin(bool begun);
/* After the real end call on `stream`: the capture is over unless the stream still captures. */
void capture_after_end(CUstream stream, CUresult result);
void capture_fork_child(void);
#endif
