/* fence.h: when may freed device memory be handed out again?
 *
 * An *epoch* collects frees. It is closed by one event in each context, which covers all work submitted there so far,
 * and it has *passed* once all those events have completed. A block belongs to the epoch in which it was freed and is
 * reusable when that epoch has passed; epochs pass in order, since a later event covers what an earlier one does.
 * One sequence of epochs serves the whole process, because work in one context may touch memory of another (peers).
 * The program's own cuCtxSynchronize passes epochs for nothing.
 *
 * A hit never calls CUDA: it compares two numbers. Closing and polling happen on misses of the ready lists and now and
 * then on frees, never while any stream of the process captures (capture.h): they would invalidate the capture.
 * Drivers without cuCtxRecordEvent (before 12.5) have no event that covers a context: there an epoch is closed by an event
 * in each stream that had work (stream.h), and a stream about to be destroyed leaves its event behind. Where even that cannot
 * cover everything, a free waits for the work, as the driver's own free does.
 *
 *     closed < open;  passed <= closed;  the events of epoch e cover every submission that returned before `open` passed e */
#ifndef COPPICE_DEVICE_FENCE_H
#define COPPICE_DEVICE_FENCE_H
#include "device/context.h"
#include "device/stream.h"
#include "device/work.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fence_clock { _Atomic uint64_t open, passed; };
extern struct fence_clock fence_clock;

/* The epoch that a block freed now belongs to. When no work was submitted since the last epoch closed, that one. */
static inline uint64_t fence_tag(void) {
    bool covered = work_is_covered(); /* read before `open`: an epoch that closes in between is only a later one */
    uint64_t open = atomic_load(&fence_clock.open);
    return covered ? open - 1 : open;
}
static inline bool fence_has_passed(uint64_t epoch) { return epoch <= atomic_load_explicit(&fence_clock.passed, memory_order_acquire); }
/* Closes the open epoch. False: not possible now (a capture is active, or too many epochs are outstanding). */
bool fence_close(void);
/* Looks whether `epoch` has passed, closing it first when it is still open. Calls CUDA. */
bool fence_poll(uint64_t epoch);
/* The same, for at most `limit_ns`: gives the device time to finish. */
bool fence_wait(uint64_t epoch, uint64_t limit_ns);
/* Is there work that no event can cover? Then a free has to drain. */
static inline bool fence_must_wait(void) { return unlikely(!driver.cuCtxRecordEvent) && !streams_are_known(); }
/* Waits for the work of one context (NULL: of all), holding nothing; passes the open epoch if that was all work there is. False: it
 * could not be waited for: somebody captures, the context ends, or is lost. */
bool fence_drain(struct context *only);
/* The same of one context, for whoever takes its memory away. A lost one is asked to wait, too: an error of one call is not always the
 * end of its work, an error of this one is. False: somebody captures, or the context ends. */
bool fence_finish(struct context *c);
/* Before a stream is destroyed. Where it is not after all, it is new to us at its next work. */
void fence_stream_ending(CUstream stream);
/* Around the program's own cuCtxSynchronize: before returns a ticket, after passes its epoch if the call succeeded. */
uint64_t fence_before_synchronize(void);
void fence_after_synchronize(uint64_t ticket, bool succeeded);
/* The context is gone: forget its events and streams. */
void fence_forget(struct context *c);
/* Returns when nobody is inside the fence: gates that were closed before are seen from then on. */
void fence_meet(void);
void fence_fork_child(void);
#endif
