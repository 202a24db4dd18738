/* driver.c: the table of real driver functions; see driver.h. */
#include "device/driver.h"
#include <stdatomic.h>

struct driver driver;
static _Atomic bool ready;

bool driver_ready(void) { return atomic_load_explicit(&ready, memory_order_acquire); }

void driver_fill(void *(*find)(const char *name)) {
#define X(name) driver.name = (__typeof__(driver.name))find(#name);
    DRIVER_CALLS(X)
#undef X
    /* without these the pool cannot be correct: hooks then pass everything through */
    bool enough = driver.cuMemAlloc_v2 && driver.cuMemFree_v2 && driver.cuCtxGetCurrent && driver.cuCtxGetDevice &&
                  driver.cuEventCreate && driver.cuEventQuery && driver.cuCtxPushCurrent_v2 && driver.cuCtxPopCurrent_v2 &&
                  driver.cuCtxSynchronize && driver.cuThreadExchangeStreamCaptureMode;
    atomic_store_explicit(&ready, enough, memory_order_release);
}
