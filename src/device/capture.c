/* capture.c: how many streams capture now; see capture.h. */
#include "device/capture.h"
#include "base/clock.h"
#include "base/lock.h"
#include <errno.h>
#include <time.h>

_Atomic uint32_t capture_count;
static struct lock capture_lock = LOCK_INIT(RANK_CAPTURE);

bool capture_keep_out(void) {
    lock_take(&capture_lock);
    if (!capture_active()) return true;
    lock_release(&capture_lock);
    return false;
}

void capture_let_in(void) { lock_release(&capture_lock); }

static _Thread_local CUstreamCaptureMode program_mode; /* the thread's own, while ours is in force */
bool capture_relax(void) {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    bool changed = driver.cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS;
    if (changed) program_mode = mode;
    return changed;
}

void capture_unrelax(bool relaxed) {
    CUstreamCaptureMode mode = program_mode;
    /* once more if need be: the thread's mode must be the program's own again */
    if (relaxed && driver.cuThreadExchangeStreamCaptureMode(&mode) != CUDA_SUCCESS) mode = program_mode, driver.cuThreadExchangeStreamCaptureMode(&mode);
}

static _Atomic uint32_t waits; /* of ours, for whole contexts */
enum { ENTERED_NS = 100000000 };

bool capture_wait_begins(void) {
    atomic_fetch_add(&waits, 1);
    if (!capture_active()) return true;
    atomic_fetch_sub(&waits, 1);
    return false;
}

void capture_wait_ends(void) { atomic_fetch_sub(&waits, 1); }

static COLD void let_waits_enter(void) {
    uint64_t start = clock_ns();
    int saved = errno;
    while (atomic_load(&waits) > 0 && clock_ns() - start < ENTERED_NS) nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
    errno = saved;
}

void capture_before_begin(void) {
    lock_take(&capture_lock);
    atomic_fetch_add(&capture_count, 1); /* before `waits` is read: whoever waits from now on sees it */
    if (unlikely(atomic_load(&waits) > 0)) let_waits_enter();
}

void capture_after_begin(bool begun) {
    if (!begun) atomic_fetch_sub(&capture_count, 1);
    lock_release(&capture_lock);
}

void capture_after_end(CUstream stream, CUresult result) {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (result != CUDA_SUCCESS) {
        if (result == CUDA_ERROR_ILLEGAL_STATE || result == CUDA_ERROR_INVALID_VALUE) return; /* it was not capturing */
        if (driver.cuStreamIsCapturing && driver.cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
            status != CU_STREAM_CAPTURE_STATUS_NONE)
            return; /* wrong thread, not joined: it goes on */
    }
    uint32_t active = atomic_load(&capture_count);
    while (active > 0 && !atomic_compare_exchange_weak(&capture_count, &active, active - 1)) {}
}

void capture_fork_child(void) { lock_reset(&capture_lock), atomic_store(&capture_count, 0), atomic_store(&waits, 0); }
