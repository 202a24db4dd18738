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
                  driver.cuCtxSynchronize && driver.cuThreadExchangeStreamCaptureMode &&
                  driver.cuMemHostAlloc && driver.cuMemAllocHost_v2 && driver.cuMemFreeHost;
    atomic_store_explicit(&ready, enough, memory_order_release);
}

/* The header says of each: "any further CUDA work will return the same error". */
bool driver_error_is_sticky(CUresult answer) {
    switch ((int)answer) {
    case CUDA_ERROR_ECC_UNCORRECTABLE: case CUDA_ERROR_NVLINK_UNCORRECTABLE: case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS: case CUDA_ERROR_LAUNCH_TIMEOUT: case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR: case CUDA_ERROR_ILLEGAL_INSTRUCTION: case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE: case CUDA_ERROR_INVALID_PC: case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_EXTERNAL_DEVICE: case CUDA_ERROR_UNKNOWN: return true;
    default: return false;
    }
}

bool driver_error_lasts(CUresult answer) {
    return driver_error_is_sticky(answer) || answer == CUDA_ERROR_DEINITIALIZED || answer == CUDA_ERROR_INVALID_CONTEXT ||
           answer == CUDA_ERROR_CONTEXT_IS_DESTROYED || answer == CUDA_ERROR_INVALID_HANDLE;
}
