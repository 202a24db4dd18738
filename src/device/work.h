/* work.h: may the device still be working for this process?
 * *Work* is anything that was submitted to a device and may touch memory: kernels, copies, fills, graphs.
 * Every function of the driver's public header that submits work is hooked and calls work_submitted() after the real
 * function has returned; an epoch that closes clears the flag before its events are recorded (fence.c). So while the
 * flag is clear, all work that happened before now is covered by the epoch closed last.
 * Where submissions could pass us by (a private table was handed out, a function we do not know was looked up), work
 * is *untracked*: the flag counts as always set, and every epoch needs its events. Threads: any. */
#ifndef COPPICE_DEVICE_WORK_H
#define COPPICE_DEVICE_WORK_H
#include <stdatomic.h>
#include <stdbool.h>

enum { WORK_NONE = 0, WORK_SUBMITTED = 1, WORK_UNTRACKED = 2 };
extern _Atomic int work_flags;

/* A load and a predicted branch when the flag is set already, which it is while a server works. The fence keeps the
 * load behind the submission's own stores: a clear flag may only be seen by a submission that the closing epoch covers. */
static inline void work_submitted(void) {
    atomic_thread_fence(memory_order_seq_cst);
    if (!(atomic_load_explicit(&work_flags, memory_order_relaxed) & WORK_SUBMITTED)) atomic_fetch_or(&work_flags, WORK_SUBMITTED);
}
static inline void work_is_untracked(void) { atomic_fetch_or(&work_flags, WORK_UNTRACKED); }
/* Is everything submitted so far covered by the last closed epoch? */
static inline bool work_is_covered(void) { return atomic_load(&work_flags) == WORK_NONE; }
static inline void work_cover(void) { atomic_fetch_and(&work_flags, ~WORK_SUBMITTED); }
#endif
