/* model_driver.h: a driver that is a model, as the library finds it: its functions by the driver's names. The test defines them, each by the name
 * in this table, before it includes this. */
#ifndef COPPICE_UNIT_MODEL_DRIVER_H
#define COPPICE_UNIT_MODEL_DRIVER_H
#include <stdbool.h>
#include <string.h>

static bool with_context_event; /* else it is a driver that has no event for a whole context */
static void *find(const char *name) {
    static const struct { const char *name; void *function; } model[] = {
        { "cuMemAlloc_v2", (void *)alloc }, { "cuMemFree_v2", (void *)release }, { "cuCtxGetCurrent", (void *)current },
        { "cuCtxPushCurrent_v2", (void *)push }, { "cuCtxPopCurrent_v2", (void *)pop }, { "cuCtxGetDevice", (void *)which_device },
        { "cuDeviceTotalMem_v2", (void *)total }, { "cuEventCreate", (void *)create }, { "cuEventDestroy_v2", (void *)destroy },
        { "cuCtxRecordEvent", (void *)record_context }, { "cuEventRecord", (void *)record_stream }, { "cuEventQuery", (void *)query },
        { "cuCtxSynchronize", (void *)synchronize }, { "cuStreamGetCtx", (void *)context_of_stream },
        { "cuStreamIsCapturing", (void *)is_capturing }, { "cuThreadExchangeStreamCaptureMode", (void *)exchange },
        { "cuMemHostAlloc", (void *)never_called }, { "cuMemAllocHost_v2", (void *)never_called }, { "cuMemFreeHost", (void *)never_called },
    };
    if (!with_context_event && strcmp(name, "cuCtxRecordEvent") == 0) return NULL;
    for (unsigned i = 0; i < sizeof model / sizeof *model; i++)
        if (strcmp(model[i].name, name) == 0) return model[i].function;
    return NULL;
}
#endif
