/* cost.c: the cost model, SIM_COST=on. One table: base name of the function, microseconds of the caller's time.
 * Published: the allocation pair, 66 us (rmm issue 284), split in halves; virtual memory on an A100 (kvcached); memory info.
 * Figures marked "placeholder" are plausible and wait for a measurement on hardware. */
#include "cost.h"
#include "entry.h"
#include <string.h>

static const struct { const char *base; double us; } costs[] = {
    { "cuMemAlloc", 33.0 },              { "cuMemFree", 33.0 },
    { "cuMemAllocPitch", 33.0 },         { "cuMemAllocManaged", 33.0 },
    { "cuMemGetInfo", 6.0 },
    { "cuMemAddressReserve", 19.0 },     { "cuMemAddressFree", 19.0 },
    { "cuMemCreate", 193.0 },
    { "cuMemMap", 1.5 },                 { "cuMemUnmap", 26.0 },
    { "cuMemSetAccess", 36.0 },          { "cuStreamIsCapturing", 0.4 },
    /* placeholders from here on */
    { "cuEventRecord", 1.0 },
    { "cuCtxRecordEvent", 1.0 },
    { "cuEventQuery", 0.4 },
    { "cuLaunchKernel", 2.5 },           { "cuLaunchKernelEx", 2.5 },
    { "cuGraphLaunch", 6.0 },            { "cuMemcpyAsync", 1.5 },
    { "cuMemcpyHtoDAsync", 1.5 },        { "cuMemcpyDtoHAsync", 1.5 },
    { "cuMemHostAlloc", 100.0 },         { "cuMemAllocHost", 100.0 },
    { "cuMemFreeHost", 60.0 },           { "cuMemHostRegister", 60.0 },
    { "cuMemAllocAsync", 1.3 },          { "cuMemAllocFromPoolAsync", 1.3 },
    { "cuMemFreeAsync", 0.8 },           { "cuMemRelease", 20.0 },
    { "cuIpcOpenMemHandle", 100.0 },
};

static float cost_us[ID_COUNT];

void cost_prepare(void) {
    for (int id = 0; id < ID_COUNT; id++) {
        const char *name = call_name(id);
        for (size_t i = 0; i < COUNT_OF(costs); i++) {
            size_t n = strlen(costs[i].base);
            bool same = strncmp(name, costs[i].base, n) == 0 &&
                        (!name[n] || (name[n] == '_' && (name[n + 1] == 'v' || strncmp(name + n, "_pt", 3) == 0)));
            if (same) cost_us[id] = (float)costs[i].us;
        }
    }
}

void cost_spend(int id) {
    if (cost_us[id] > 0) spin_ns((u64)(cost_us[id] * 1000));
}
