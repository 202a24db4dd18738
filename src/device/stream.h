/* stream.h: the streams of the process, for drivers that have no event for a whole context (before 12.5).
 *
 * A *known* stream is one to which a hook has seen work go. It is *used* when that was after the last epoch closed. An epoch is closed
 * by an event in each used stream. A context's default streams, the legacy one and each thread's own, are used or not
 * together: one event in the legacy stream covers them all, since it waits for every blocking stream, and only a thread
 * itself could name its own. (The header allows an allocation of device memory that same order among streams.)
 * All streams are *known* as long as no submission can pass the hooks by (work.h), the table has room, and no stream
 * ended without an event; else an epoch is passed by waiting for its contexts, as the driver's own free would.
 *
 * The order that makes it safe is the flag's of work.h: a stream is marked after its submission has returned and before
 * the flag of work.h is set; an epoch that closes clears the flag, then each mark, then records. */
#ifndef COPPICE_DEVICE_STREAM_H
#define COPPICE_DEVICE_STREAM_H
#include "device/event.h"
#include "device/work.h"

/* A hook has submitted to several streams at once, or cannot tell to which. */
#define STREAM_ANY ((CUstream)~(uintptr_t)0)

/* Work was submitted to the stream (0, 1 and 2 are the default streams of the calling thread's context). */
void stream_used(CUstream stream) COLD;
static inline void stream_worked(CUstream stream) {
    if (unlikely(!driver.cuCtxRecordEvent)) stream_used(stream);
    work_submitted();
}
/* Can events of streams cover all work? */
bool streams_are_known(void);

/* Under the fence's lock. An event for each used stream of the context is put before `list`; false: one could not be recorded. */
bool streams_cover(struct context *c, struct fence_event **list);
/* What streams_cover took for covered is not, after all: every stream counts as used. */
void streams_uncover(void);
/* The context of a known stream that is used, for the event that must be recorded before it is destroyed. NULL: none needed. */
struct context *stream_to_record(CUstream stream);
void stream_forget(CUstream stream);
void streams_forget(const struct context *c);
/* A stream ended without an event: no epoch can be closed before its contexts were waited for. */
void stream_lost(void);
uint64_t streams_lost(void);
/* They were waited for, and the wait began after so many had been lost. */
void streams_drained(uint64_t lost);
void streams_fork_child(void);
#endif
