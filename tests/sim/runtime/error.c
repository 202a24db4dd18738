/* error.c: the last error of each thread, and what the error numbers are called.
 * Names come from the enum in driver_types.h (a table made at build time), descriptions from the driver where it knows
 * the number, else from the short list below. An error is *sticky* when it has corrupted the context: the driver
 * returns it from every later call, and cudaGetLastError does not clear it. */
#include "runtime.h"
#include <stdio.h>
#include <stdlib.h>

static _Thread_local cudaError_t last_error;

static bool is_sticky(cudaError_t e)
{
    switch ((int)e) {
    case cudaErrorIllegalAddress: case cudaErrorLaunchTimeout: case cudaErrorAssert: case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction: case cudaErrorMisalignedAddress: case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc: case cudaErrorLaunchFailure: case cudaErrorECCUncorrectable: case cudaErrorNvlinkUncorrectable:
        return true;
    default:
        return false;
    }
}

cudaError_t rt_result(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

cudaError_t rt_declined(const char *name)
{
    static int log = -1;
    if (log < 0) {
        const char *wish = getenv("SIM_LOG");
        log = wish && *wish && *wish != '0';
    }
    if (log)
        fprintf(stderr, "sim: %s is not simulated: cudaErrorNotSupported\n", name);
    return rt_result(cudaErrorNotSupported);
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    if (!is_sticky(error))
        last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void) { return last_error; }

void rt_forget_errors(void) { last_error = cudaSuccess; } /* a device reset ends even a sticky error */

static const struct { int number; const char *name; } names[] = {
#define E(name, number) { number, #name },
#include "error_names.def"
#undef E
};

/* What the driver has no text for: errors of the runtime's own, and those met when there is no driver. */
static const struct { int number; const char *text; } texts[] = {
    { cudaSuccess, "no error" },
    { cudaErrorInvalidConfiguration, "invalid configuration argument" },
    { cudaErrorInvalidPitchValue, "invalid pitch argument" },
    { cudaErrorInvalidSymbol, "invalid device symbol" },
    { cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy" },
    { cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version" },
    { cudaErrorMissingConfiguration, "missing launch configuration" },
    { cudaErrorInvalidDeviceFunction, "invalid device function" },
    { cudaErrorNoDevice, "no CUDA-capable device is detected" },
    { cudaErrorInvalidDevice, "invalid device ordinal" },
    { cudaErrorMemoryAllocation, "out of memory" },
    { cudaErrorInvalidValue, "invalid argument" },
    { cudaErrorNotSupported, "operation not supported" },
};

const char *cudaGetErrorName(cudaError_t error)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == (int)error)
            return names[i].name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].number == (int)error)
            return texts[i].text;
    const char *text = NULL;
    if (DRV(cuGetErrorString) && DRV(cuGetErrorString)((CUresult)error, &text) == CUDA_SUCCESS && text)
        return text;
    return cudaGetErrorName(error);
}
