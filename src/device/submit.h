/* submit.h: holding back what the process would give the device to do.
 *
 * A *submission* is a call of the driver that gives the device work; with SHARE_WEIGHTS every hook of such a call is *inside* from
 * before the real call until it has returned. To *hold* is to let nobody in and to wait until nobody is inside: what was
 * submitted before is then all there is, and once the device has done that, memory may be mapped elsewhere. Both waits are
 * bounded: somebody inside may be waiting for a thread that is held back.
 * One thread holds at a time. Submissions that no hook sees (private tables of the driver) pass by; docs/SHARING.md says so. */
#ifndef COPPICE_DEVICE_SUBMIT_H
#define COPPICE_DEVICE_SUBMIT_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

extern _Atomic uint32_t submit_inside;
extern _Atomic bool submit_is_held;
void submit_wait(void) COLD;

static inline void submit_enter(void) {
    for (;;) {
        atomic_fetch_add(&submit_inside, 1);
        if (likely(!atomic_load(&submit_is_held))) return;
        atomic_fetch_sub(&submit_inside, 1);
        submit_wait();
    }
}
static inline void submit_leave(void) { atomic_fetch_sub(&submit_inside, 1); }

/* Holds submissions back and waits for what was submitted. False, and nothing is held: not within its time, or a stream captures; then,
 * unless somebody `must`, it is not tried again for a while, so that a process that cannot be held is not slowed down. */
bool submit_hold(bool must);
void submit_let_go(void);
void submit_fork_child(void);
#endif
