/* device.c: what NVML tells about one device. Constants are those of the device that the simulated driver describes. */
#include "sim_nvml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- constants: C(function, type of the result, value) */
#define CONSTANTS(C) \
    C(nvmlDeviceGetBrand, nvmlBrandType_t, NVML_BRAND_NVIDIA) C(nvmlDeviceGetComputeMode, nvmlComputeMode_t, NVML_COMPUTEMODE_DEFAULT) \
    C(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, NVML_FEATURE_ENABLED) \
    C(nvmlDeviceGetDisplayMode, nvmlEnableState_t, NVML_FEATURE_DISABLED) \
    C(nvmlDeviceGetDisplayActive, nvmlEnableState_t, NVML_FEATURE_DISABLED) \
    C(nvmlDeviceGetPerformanceState, nvmlPstates_t, NVML_PSTATE_0) C(nvmlDeviceGetPowerState, nvmlPstates_t, NVML_PSTATE_0) \
    C(nvmlDeviceGetPowerUsage, unsigned, 70000) C(nvmlDeviceGetPowerManagementLimit, unsigned, 700000) \
    C(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, 700000) C(nvmlDeviceGetEnforcedPowerLimit, unsigned, 700000) \
    C(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, 0) C(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, 0) \
    C(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, 0) \
    C(nvmlDeviceGetArchitecture, nvmlDeviceArchitecture_t, NVML_DEVICE_ARCH_HOPPER) \
    C(nvmlDeviceGetNumGpuCores, unsigned, 16896) C(nvmlDeviceGetMemoryBusWidth, unsigned, 5120) \
    C(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, 5) C(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, 5) \
    C(nvmlDeviceGetMaxPcieLinkWidth, unsigned, 16) C(nvmlDeviceGetCurrPcieLinkWidth, unsigned, 16) \
    C(nvmlDeviceGetMultiGpuBoard, unsigned, 0) C(nvmlDeviceGetMaxMigDeviceCount, unsigned, 0) \
    C(nvmlDeviceGetVirtualizationMode, nvmlGpuVirtualizationMode_t, NVML_GPU_VIRTUALIZATION_MODE_NONE) \
    C(nvmlDeviceIsMigDeviceHandle, unsigned, 0)
#define CONSTANT(function, type, value) \
    nvmlReturn_t function(nvmlDevice_t d, type *out) { DEVICE_CALL(d, out); *out = (type)(value); return NVML_SUCCESS; }
CONSTANTS(CONSTANT)

/* --- identity */
static nvmlReturn_t text_out(const char *from, char *to, unsigned length)
{
    if (strlen(from) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, from);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *out, unsigned length)
{
    DEVICE_CALL(d, out);
    return text_out("Simulated H100", out, length);
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *out, unsigned length)
{
    char text[96];
    DEVICE_CALL(d, out);
    sim_uuid(d->index, text);
    return text_out(text, out, length);
}
nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t d, char *out, unsigned length)
{
    char text[32];
    DEVICE_CALL(d, out);
    snprintf(text, sizeof text, "%013d", d->index + 1);
    return text_out(text, out, length);
}
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t d, unsigned *out) { DEVICE_CALL(d, out); *out = (unsigned)d->index; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned *out) { return nvmlDeviceGetIndex(d, out); }
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t d, int *major, int *minor)
{
    DEVICE_CALL(d, major && minor);
    *major = 9, *minor = 0;
    const char *wish = getenv("SIM_CC");
    if (wish && *wish)
        sscanf(wish, "%d.%d", major, minor);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *out)
{
    DEVICE_CALL(d, out);
    memset(out, 0, sizeof *out);
    out->bus = sim_bus(d->index);
    out->pciDeviceId = 0x233010de;
    snprintf(out->busId, sizeof out->busId, "00000000:%02X:00.0", out->bus);
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "0000:%02X:00.0", out->bus);
    return NVML_SUCCESS;
}
/* The older forms end before busId: their struct is a prefix of today's. */
static nvmlReturn_t old_pci_info(nvmlDevice_t d, void *out)
{
    nvmlPciInfo_t now;
    DEVICE_CALL(d, out);
    nvmlDeviceGetPciInfo_v3(d, &now);
    memcpy(out, &now, offsetof(nvmlPciInfo_t, busId));
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t d, nvmlPciInfo_t *out) { return old_pci_info(d, out); }
nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t d, nvmlPciInfo_t *out) { return old_pci_info(d, out); }

/* --- memory */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *out)
{
    struct simctl_device now;
    DEVICE_CALL(d, out);
    sim_memory(d->index, &now);
    *out = (nvmlMemory_t){ .total = now.capacity, .used = now.reserved, .free = now.capacity - now.reserved };
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *out)
{
    struct simctl_device now;
    DEVICE_CALL(d, out);
    if (out->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    sim_memory(d->index, &now);
    *out = (nvmlMemory_v2_t){ .version = nvmlMemory_v2, .total = now.capacity, .used = now.reserved, .free = now.capacity - now.reserved };
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t d, nvmlBAR1Memory_t *out)
{
    DEVICE_CALL(d, out);
    *out = (nvmlBAR1Memory_t){ .bar1Total = 128ull << 30, .bar1Free = 128ull << 30 };
    return NVML_SUCCESS;
}

/* --- processes: every living process of the set that holds memory here */
static nvmlReturn_t processes(nvmlDevice_t d, unsigned *count, void *out, bool with_instances)
{
    int pids[256];
    DEVICE_CALL(d, count);
    int all = sim_processes(pids, 256);
    unsigned found = 0, room = out ? *count : 0;
    for (int i = 0; i < all && i < 256; i++) {
        unsigned long long used = sim_process_memory(pids[i], d->index);
        if (found < room && with_instances)
            ((nvmlProcessInfo_v2_t *)out)[found] = (nvmlProcessInfo_v2_t){ (unsigned)pids[i], used, 0xffffffff, 0xffffffff };
        else if (found < room)
            ((nvmlProcessInfo_v1_t *)out)[found] = (nvmlProcessInfo_v1_t){ (unsigned)pids[i], used };
        found++;
    }
    *count = found;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_t *out) { return processes(d, count, out, true); }
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_v2_t *out) { return processes(d, count, out, true); }
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_v1_t *out) { return processes(d, count, out, false); }

static nvmlReturn_t nobody(nvmlDevice_t d, unsigned *count) { DEVICE_CALL(d, count); *count = 0; return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_t *out) { (void)out; return nobody(d, count); }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_v2_t *out) { (void)out; return nobody(d, count); }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_v1_t *out) { (void)out; return nobody(d, count); }
nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_t *out) { (void)out; return nobody(d, count); }
nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_v2_t *out) { (void)out; return nobody(d, count); }
nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses(nvmlDevice_t d, unsigned *count, nvmlProcessInfo_v1_t *out) { (void)out; return nobody(d, count); }

/* --- sensors and settings */
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *out)
{
    struct simctl_device now;
    DEVICE_CALL(d, out);
    sim_memory(d->index, &now);
    *out = (nvmlUtilization_t){ .gpu = 0, .memory = now.capacity ? (unsigned)(100 * now.reserved / now.capacity) : 0 };
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t sensor, unsigned *out)
{
    DEVICE_CALL(d, out && sensor == NVML_TEMPERATURE_GPU);
    *out = 35;
    return NVML_SUCCESS;
}
static unsigned clock_mhz(nvmlClockType_t type) { return type == NVML_CLOCK_MEM ? 2619 : 1980; }
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, nvmlClockType_t type, unsigned *out)
{
    DEVICE_CALL(d, out && type < NVML_CLOCK_COUNT);
    *out = clock_mhz(type);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, nvmlClockType_t type, unsigned *out) { return nvmlDeviceGetClockInfo(d, type, out); }
nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t d, nvmlEnableState_t *now, nvmlEnableState_t *pending)
{
    DEVICE_CALL(d, now && pending);
    *now = *pending = NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *now, unsigned *pending)
{
    DEVICE_CALL(d, now && pending);
    *now = *pending = NVML_DEVICE_MIG_DISABLE;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter, unsigned long long *out)
{
    (void)type, (void)counter;
    DEVICE_CALL(d, out);
    *out = 0;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t d, unsigned size, unsigned long *set, nvmlAffinityScope_t scope)
{
    (void)scope;
    DEVICE_CALL(d, set && size);
    memset(set, 0, size * sizeof *set);
    set[0] = 1;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t d, unsigned size, unsigned long *set)
{
    DEVICE_CALL(d, set && size);
    memset(set, 0xff, size * sizeof *set);
    return NVML_SUCCESS;
}

/* --- several devices: one PCI switch, peer access everywhere, no NVLink */
nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t a, nvmlDevice_t b, nvmlGpuTopologyLevel_t *out)
{
    DEVICE_CALL(a, out && sim_known(b));
    *out = a == b ? NVML_TOPOLOGY_INTERNAL : NVML_TOPOLOGY_SINGLE;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t a, nvmlDevice_t b, nvmlGpuP2PCapsIndex_t which, nvmlGpuP2PStatus_t *out)
{
    DEVICE_CALL(a, out && sim_known(b));
    *out = which == NVML_P2P_CAPS_INDEX_NVLINK ? NVML_P2P_STATUS_NOT_SUPPORTED : NVML_P2P_STATUS_OK;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t a, nvmlDevice_t b, int *out)
{
    DEVICE_CALL(a, out && sim_known(b));
    *out = a == b;
    return NVML_SUCCESS;
}
