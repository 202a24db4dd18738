/* fullest.c: see fullest.h. */
#include "device/fullest.h"
#include "device/pool.h"

/* What the driver says of the context's device. */
static bool ask_use(struct context *c, uint64_t *used, uint64_t *all) {
    CUcontext popped;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    size_t left = 0, total = 0;
    bool foreign = thread_device.current != c;
    if (!driver.cuMemGetInfo_v2 || (foreign && driver.cuCtxPushCurrent_v2(c->handle) != CUDA_SUCCESS)) return false;
    driver.cuThreadExchangeStreamCaptureMode(&mode);
    bool known = driver.cuMemGetInfo_v2(&left, &total) == CUDA_SUCCESS && left <= total;
    driver.cuThreadExchangeStreamCaptureMode(&mode);
    if (foreign) driver.cuCtxPopCurrent_v2(&popped);
    *used = total - left, *all = total;
    return known;
}

static uint64_t reserved_on(CUdevice device) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->ordinal == device) bytes += counter_get(&contexts[i]->counters->reserved_bytes);
    return bytes;
}

static bool use_of(struct context *c, bool ask, uint64_t *used, uint64_t *all) {
    if (!pool_is_open(c) || context_cached_on(c->ordinal) == 0) return false;
    *used = reserved_on(c->ordinal), *all = c->capacity;
    return !ask || ask_use(c, used, all);
}

bool pool_fullest(bool ask, uint64_t *used, uint64_t *capacity) {
    double most = -1;
    if (!pool_chore_begins()) return false;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        uint64_t here = 0, all = 0;
        if (!use_of(contexts[i], ask, &here, &all) || all == 0 || (double)here / (double)all <= most) continue;
        *used = here, *capacity = all, most = (double)here / (double)all;
    }
    pool_chore_ends();
    return most >= 0;
}
