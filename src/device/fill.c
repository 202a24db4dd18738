/* fill.c: fills in a stream of our own; see fill.h. */
#include "device/fill.h"
#include "base/lock.h"
#include "device/stream.h"
#include "device/capture.h"

static struct lock fill_lock = LOCK_INIT(RANK_CONTEXT);
static CUstream streams[CONTEXTS]; /* under fill_lock */

CUstream fill_stream(struct context *c) {
    lock_take(&fill_lock);
    CUstream *stream = &streams[c->index];
    if (!*stream && driver.cuStreamCreate(stream, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS) *stream = NULL;
    CUstream found = *stream;
    lock_release(&fill_lock);
    return found;
}

static CUresult fill_in(CUstream stream, uint64_t address, unsigned char value, uint64_t size) {
    CUresult answer = driver.cuMemsetD8Async(address, value, size, stream);
    if (answer != CUDA_SUCCESS) return answer;
    answer = driver.cuStreamSynchronize(stream);
    if (answer != CUDA_SUCCESS) stream_worked(stream); /* it may be under way: as the program's own work, for the next epoch */
    return answer;
}

bool fill_bytes(struct context *c, uint64_t address, unsigned char value, uint64_t size) {
    if (!driver.cuMemsetD8Async || !driver.cuStreamSynchronize || !driver.cuStreamCreate || !context_enter(c)) return false;
    bool relaxed = capture_relax();
    CUstream stream = fill_stream(c);
    CUresult answer = stream ? fill_in(stream, address, value, size) : CUDA_ERROR_OUT_OF_MEMORY;
    capture_unrelax(relaxed);
    context_leave(c);
    context_noticed(c, answer);
    return answer == CUDA_SUCCESS;
}

void fill_forget(struct context *c) {
    lock_take(&fill_lock);
    streams[c->index] = NULL;
    lock_release(&fill_lock);
}

void fill_fork_child(void) { lock_reset(&fill_lock); }
