/* sim_nvml.h: what the files of the simulated NVML share.
 * NVML looks at *physical* devices, whatever CUDA_VISIBLE_DEVICES says, makes no context and never initialises CUDA. Memory
 * and processes are the device set's own numbers, read from outside (simctl.h); who a device is (name, UUID, bus) follows
 * from its physical index by the rule that the simulated driver uses (tests/sim/driver/device.c). */
#pragma once
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>
#include <stdbool.h>
#include "../driver/simctl.h"

struct nvmlDevice_st { int index; };

int sim_count(void);
nvmlDevice_t sim_handle(int index); /* NULL: no such device */
bool sim_memory(int index, struct simctl_device *out);
int sim_processes(int *pids, int max);
unsigned long long sim_process_memory(int pid, int index);
unsigned sim_bus(int index);
void sim_uuid(int index, char *text);
bool sim_started(void);

/* An exported function about a device: initialised, the handle known, its result wanted. */
#define DEVICE_CALL(device, condition) do { \
    if (!sim_started()) return NVML_ERROR_UNINITIALIZED; \
    if (!sim_known(device) || !(condition)) return NVML_ERROR_INVALID_ARGUMENT; \
} while (0)
bool sim_known(nvmlDevice_t device);
