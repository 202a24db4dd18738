/* proc.c: cuGetProcAddress, error names, versions, private tables (declined).
 * The table of procs is generated from cudaTypedefs.h: a base name has one row for each version of its ABI, and one more for
 * each per-thread-default-stream variant. The answer is the newest row that the asked version allows. */
#include "entry.h"
#include "control.h"
#include <stdlib.h>
#include <string.h>

static const struct proc { const char *base; int version; bool per_thread; void *function; } procs[] = {
#include "procs.inc"
};

static void *proc_find(const char *name, int version, bool per_thread, CUdriverProcAddressQueryResult *status) {
    const struct proc *best = NULL;
    version = MIN(version, sim_driver_version);
    *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    for (size_t i = 0; i < COUNT_OF(procs); i++) {
        const struct proc *p = &procs[i];
        if ((p->per_thread && !per_thread) || strcmp(p->base, name) != 0) continue;
        if (p->version > version) {
            if (!best && p->version <= sim_driver_version) *status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
            continue;
        }
        bool better = !best || (p->per_thread == best->per_thread ? p->version > best->version : p->per_thread);
        if (better) best = p;
    }
    if (!best) return NULL;
    *status = CU_GET_PROC_ADDRESS_SUCCESS;
    return best->function;
}

static CUresult proc_address(const char *symbol, void **pfn, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status) {
    if (!symbol || !pfn) return CUDA_ERROR_INVALID_VALUE;
    if (flags & ~(cuuint64_t)(CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM))
        return CUDA_ERROR_INVALID_VALUE;
    *pfn = NULL;
    bool per_thread = flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    *pfn = proc_find(symbol, version, per_thread, status);
    if (!*pfn && (opt.log || getenv("SIM_LOG"))) sim_log("cuGetProcAddress: no \"%s\" at version %d", symbol, version);
    return CUDA_SUCCESS;
}

/* From 12.0 on a symbol that is not there is told through the status; without a status it is an error, as in the 11.3 ABI. */
CUresult DRV(cuGetProcAddress_v2)(const char *symbol, void **pfn, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *out) {
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    TRY(proc_address(symbol, pfn, version, flags, &status));
    if (out) *out = status;
    else if (status != CU_GET_PROC_ADDRESS_SUCCESS) return CUDA_ERROR_NOT_FOUND;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGetProcAddress)(const char *symbol, void **pfn, int version, cuuint64_t flags) {
    CUdriverProcAddressQueryResult status;
    TRY(proc_address(symbol, pfn, version, flags, &status));
    return *pfn ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult DRV(cuGetExportTable)(const void **table, const CUuuid *id) {
    (void)id;
    if (table) *table = NULL;
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult DRV(cuDriverGetVersion)(int *version) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    *version = sim_driver_version;
    return CUDA_SUCCESS;
}

CUresult DRV(cuGetErrorName)(CUresult error, const char **out) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    switch ((int)error) {
#define ERR(name, value) case value: *out = #name; return CUDA_SUCCESS;
#include "errors.inc"
#undef ERR
    default: *out = NULL; return CUDA_ERROR_INVALID_VALUE;
    }
}

/* Words for the errors that a user of memory meets; the rest say their name in lower case. */
static const struct { int error; const char *text; } texts[] = {
    { CUDA_SUCCESS, "no error" },
    { CUDA_ERROR_INVALID_VALUE, "invalid argument" },
    { CUDA_ERROR_OUT_OF_MEMORY, "out of memory" },
    { CUDA_ERROR_NOT_INITIALIZED, "initialization error" },
    { CUDA_ERROR_DEINITIALIZED, "driver shutting down" },
    { CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected" },
    { CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal" },
    { CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid" },
    { CUDA_ERROR_INVALID_CONTEXT, "invalid device context" },
    { CUDA_ERROR_INVALID_HANDLE, "invalid resource handle" },
    { CUDA_ERROR_NOT_FOUND, "named symbol not found" },
    { CUDA_ERROR_NOT_READY, "device not ready" },
    { CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered" },
    { CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure" },
    { CUDA_ERROR_NOT_PERMITTED, "operation not permitted" },
    { CUDA_ERROR_NOT_SUPPORTED, "operation not supported" },
    { CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing" },
    { CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture" },
    { CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences" },
    { CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began" },
    { CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work" },
    { CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream" },
    { CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing blocking stream" },
    { CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream" },
    { CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture sequence from another thread" },
};

CUresult DRV(cuGetErrorString)(CUresult error, const char **out) {
    const char *name;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = NULL;
    TRY(DRV(cuGetErrorName)(error, &name));
    *out = name;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (texts[i].error == (int)error) *out = texts[i].text;
    return CUDA_SUCCESS;
}

CUresult DRV(cuProfilerInitialize)(const char *config, const char *output, CUoutput_mode mode) {
    (void)config, (void)output, (void)mode;
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult DRV(cuProfilerStart)(void) { return CUDA_SUCCESS; }
CUresult DRV(cuProfilerStop)(void) { return CUDA_SUCCESS; }
