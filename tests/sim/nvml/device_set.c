/* device_set.c: where the simulated NVML gets its numbers: libcoppice-simctl.so, found beside this library or by name; where
 * no process has made the device set yet, the options it would be made with. */
#include "sim_nvml.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEVICES = 8 };
static struct nvmlDevice_st devices[MAX_DEVICES] = { { 0 }, { 1 }, { 2 }, { 3 }, { 4 }, { 5 }, { 6 }, { 7 } };
static typeof(simctl_device) *read_device;
static typeof(simctl_processes) *read_processes;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *beside_this(const char *name)
{
    char path[4096];
    Dl_info self;
    if (!dladdr((void *)beside_this, &self) || !self.dli_fname || strlen(self.dli_fname) + strlen(name) >= sizeof path)
        return NULL;
    strcpy(path, self.dli_fname);
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    strcpy(slash + 1, name);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void find_simctl(void)
{
    void *library = beside_this("libcoppice-simctl.so");
    if (!library)
        library = dlopen("libcoppice-simctl.so", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    read_device = (typeof(read_device))dlsym(library, "simctl_device");
    read_processes = (typeof(read_processes))dlsym(library, "simctl_processes");
}

static unsigned long long size_option(const char *text, unsigned long long otherwise)
{
    char *end;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (!value)
        return otherwise;
    const char *units = "KMGT", *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    return unit ? value << 10 * (unit - units + 1) : value;
}

bool sim_memory(int index, struct simctl_device *out)
{
    pthread_once(&once, find_simctl);
    memset(out, 0, sizeof *out);
    if (read_device && read_device(NULL, 0, index, out))
        return true;
    out->capacity = size_option(getenv("SIM_CAPACITY"), 16ull << 30);
    return false;
}

int sim_count(void)
{
    struct simctl_device ignored;
    const char *wish = getenv("SIM_DEVICES");
    int count = 0;
    while (count < MAX_DEVICES && sim_memory(count, &ignored))
        count++;
    if (!count)
        count = wish && *wish ? atoi(wish) : 1;
    return count < 0 ? 0 : count > MAX_DEVICES ? MAX_DEVICES : count;
}

nvmlDevice_t sim_handle(int index) { return index >= 0 && index < sim_count() ? &devices[index] : NULL; }
bool sim_known(nvmlDevice_t device) { return device >= devices && device < devices + MAX_DEVICES; }

int sim_processes(int *pids, int max)
{
    pthread_once(&once, find_simctl);
    return read_processes ? read_processes(NULL, pids, max) : 0;
}

unsigned long long sim_process_memory(int pid, int index)
{
    struct simctl_device d = { 0 };
    return read_device && read_device(NULL, pid, index, &d) ? d.reserved : 0;
}

unsigned sim_bus(int index) { return 0x51u + (unsigned)index; }

void sim_uuid(int index, char *text)
{
    unsigned char b[16];
    const char *name = getenv("SIM_DEVICE_NAME");
    unsigned long long hash = 0xcbf29ce484222325ull; /* FNV-1a of the set's name, as in tests/sim/driver */
    for (const char *c = name && *name ? name : "default"; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3ull;
    for (int i = 0; i < 8; i++) {
        b[i] = (unsigned char)(0xc0 + 7 * i + 31 * index);
        b[8 + i] = (unsigned char)(hash >> 8 * i);
    }
    b[0] = (unsigned char)(0x51 + index);
    text += sprintf(text, "GPU-");
    for (int i = 0; i < 16; i++)
        text += sprintf(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
}
