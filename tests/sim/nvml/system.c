/* system.c: initialisation, versions, finding devices. */
#include "sim_nvml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int started; /* atomic; nvmlInit counts */
bool sim_started(void) { return __atomic_load_n(&started, __ATOMIC_ACQUIRE) > 0; }

int nvml_decline(void);
int nvml_decline(void) { return sim_started() ? NVML_ERROR_NOT_SUPPORTED : NVML_ERROR_UNINITIALIZED; }

nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    __atomic_add_fetch(&started, 1, __ATOMIC_RELEASE);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
nvmlReturn_t nvmlInit(void) { return nvmlInitWithFlags(0); }
nvmlReturn_t nvmlShutdown(void)
{
    if (!sim_started())
        return NVML_ERROR_UNINITIALIZED;
    __atomic_sub_fetch(&started, 1, __ATOMIC_RELEASE);
    return NVML_SUCCESS;
}

static const struct { nvmlReturn_t code; const char *text; } errors[] = {
    { NVML_SUCCESS, "Success" }, { NVML_ERROR_UNINITIALIZED, "Uninitialized" }, { NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument" },
    { NVML_ERROR_NOT_SUPPORTED, "Not Supported" }, { NVML_ERROR_NOT_FOUND, "Not Found" },
    { NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size" }, { NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument Version Mismatch" },
};
const char *nvmlErrorString(nvmlReturn_t code)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].text;
    return "Unknown Error";
}

static nvmlReturn_t text_out(const char *from, char *to, unsigned length)
{
    if (!sim_started())
        return NVML_ERROR_UNINITIALIZED;
    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(from) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, from);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned length) { return text_out("580.00.00", out, length); }
nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, unsigned length) { return text_out("13.580.00.00", out, length); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) { return version ? *version = 13000, NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT; }
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }
nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char *out, unsigned length)
{
    char path[64], name[64] = "";
    snprintf(path, sizeof path, "/proc/%u/comm", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return NVML_ERROR_NOT_FOUND;
    if (fgets(name, sizeof name, f))
        name[strcspn(name, "\n")] = 0;
    fclose(f);
    return text_out(name, out, length);
}

/* --- finding devices */
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    if (!sim_started())
        return NVML_ERROR_UNINITIALIZED;
    return count ? *count = (unsigned)sim_count(), NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}
nvmlReturn_t nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out)
{
    if (!sim_started())
        return NVML_ERROR_UNINITIALIZED;
    if (!out || !sim_handle((int)index))
        return NVML_ERROR_INVALID_ARGUMENT;
    *out = sim_handle((int)index);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *out) { return nvmlDeviceGetHandleByIndex_v2(index, out); }

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out)
{
    char text[96];
    if (!sim_started())
        return NVML_ERROR_UNINITIALIZED;
    if (!uuid || !out)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < sim_count(); i++) {
        sim_uuid(i, text);
        if (!strcmp(text, uuid))
            return *out = sim_handle(i), NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *text, nvmlDevice_t *out)
{
    unsigned domain = 0, bus = 0, device = 0, function = 0;
    if (!sim_started())
        return NVML_ERROR_UNINITIALIZED;
    if (!text || !out)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3 && sscanf(text, "%x:%x.%x", &bus, &device, &function) < 2)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < sim_count(); i++)
        if (bus == sim_bus(i))
            return *out = sim_handle(i), NVML_SUCCESS;
    return NVML_ERROR_NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *text, nvmlDevice_t *out) { return nvmlDeviceGetHandleByPciBusId_v2(text, out); }
