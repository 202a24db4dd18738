/* submit.c: see submit.h. */
#include "device/submit.h"
#include "base/clock.h"
#include "base/lock.h"
#include "device/capture.h"
#include "device/fence.h"
#include <errno.h>
#include <time.h>

#define INSIDE_NS 100000000u /* how long somebody inside is waited for */
#define WORK_NS 500000000u   /* and the device */
#define AGAIN_NS 2000000000u /* after neither was done in time */

_Atomic uint32_t submit_inside;
_Atomic bool submit_is_held;
static struct lock holder = LOCK_INIT(RANK_HOLD);

static void pause_a_little(void) {
    int saved = errno;
    nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
    errno = saved;
}

void submit_wait(void) {
    while (atomic_load(&submit_is_held)) pause_a_little();
}

static bool nobody_is_inside(void) {
    uint64_t start = clock_ns();
    while (atomic_load(&submit_inside) > 0) {
        if (clock_ns() - start > INSIDE_NS) return false;
        pause_a_little();
    }
    return true;
}

bool submit_hold(bool must) {
    static uint64_t next; /* under the lock */
    lock_take(&holder);
    if (must || clock_ns() >= next) {
        atomic_store(&submit_is_held, true);
        if (nobody_is_inside() && !capture_active() && !fence_must_wait() && fence_wait(fence_tag(), WORK_NS)) return true;
        next = clock_ns() + AGAIN_NS;
    }
    submit_let_go();
    return false;
}

void submit_let_go(void) {
    atomic_store(&submit_is_held, false);
    lock_release(&holder);
}

void submit_fork_child(void) { lock_reset(&holder), atomic_store(&submit_inside, 0), atomic_store(&submit_is_held, false); }
