/* device.c: cuInit, which devices there are, and what they say about themselves.
 * The attributes are those of a large data-centre GPU (an H100 by default); one table, so that a change is one line. */
#define _GNU_SOURCE
#include "sim.h"
#include "control.h"
#include "cost.h"
#include "entry.h"
#include "space.h"
#include "stream.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Atomic bool sim_initialised;
bool sim_forked;
struct set *sim_set;
int sim_slot = -1;
struct device devices[MAX_DEVICES];
int device_count;
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;

/* The child of a process that used CUDA has no device: every call says so, and nothing of the parent's is touched. */
static void after_fork_in_child(void) {
    if (!atomic_load(&sim_initialised)) return;
    sim_forked = true;
    if (mutated(MUTATION_fork_child)) return;
    entry_leave();
    entry_look_closer(1);
}

/* Devices of different sets are different devices. FNV-1a of the set's name; the same in tests/sim/nvml. */
static u64 set_hash(void) {
    const char *name = getenv("SIM_DEVICE_NAME");
    u64 hash = 0xcbf29ce484222325;
    for (const char *c = name && *name ? name : "default"; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    return hash;
}

static CUuuid device_uuid(int physical) {
    CUuuid id;
    for (int i = 0; i < 8; i++) id.bytes[i] = (char)(0xc0 + 7 * i + 31 * physical), id.bytes[8 + i] = (char)(set_hash() >> 8 * i);
    id.bytes[0] = (char)(0x51 + physical);
    return id;
}

static void uuid_text(CUuuid id, char *out) {
    const unsigned char *b = (const unsigned char *)id.bytes;
    sprintf(out, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
            b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* One entry of CUDA_VISIBLE_DEVICES: an index or the beginning of a UUID. -1: no such device. */
static int visible_entry(const char *text, size_t n, int physical_count) {
    char word[64], uuid[64];
    if (n == 0 || n >= sizeof word) return -1;
    memcpy(word, text, n);
    word[n] = 0;
    char *end;
    long index = strtol(word, &end, 10);
    if (!*end) return index >= 0 && index < physical_count ? (int)index : -1;
    int found = -1;
    for (int d = 0; d < physical_count; d++) {
        uuid_text(device_uuid(d), uuid);
        if (strncasecmp(uuid, word, n) != 0 || n < 5) continue;
        if (found >= 0) return -1;       /* not unique */
        found = d;
    }
    return found;
}

/* Indices and UUID prefixes; what follows the first bad or repeated entry does not count. */
static void choose_visible(int physical_count) {
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    device_count = 0;
    if (!list) {
        for (int d = 0; d < physical_count; d++) devices[device_count++].physical = d;
        return;
    }
    for (const char *p = list; *p;) {
        while (*p == ' ') p++;
        size_t n = strcspn(p, ","), used = n;
        while (used && p[used - 1] == ' ') used--;
        int physical = visible_entry(p, used, physical_count);
        if (physical < 0) return;
        for (int d = 0; d < device_count; d++)
            if (devices[d].physical == physical) return;
        devices[device_count++].physical = physical;
        p += n + (p[n] == ',');
    }
}

CUresult devices_init(void) {
    sim_set = set_open(opt.set_name, true, opt.capacity, opt.devices);
    if (!sim_set) return CUDA_ERROR_OPERATING_SYSTEM;
    sim_slot = set_join(sim_set);
    if (sim_slot < 0) {
        sim_log("more than %d processes share this device", SET_SLOTS);
        return CUDA_ERROR_OPERATING_SYSTEM;
    }
    set_lock(sim_set);
    int others = 0;
    for (int s = 0; s < (int)sim_set->slots_used; s++) others += s != sim_slot && sim_set->slot[s].pid != 0;
    if (!others) {                       /* the first process decides what the devices are */
        sim_set->devices = (uint32_t)opt.devices;
        for (int d = 0; d < SET_DEVICES; d++) sim_set->capacity[d] = opt.capacity;
    }
    int physical = (int)sim_set->devices;
    set_unlock(sim_set);
    choose_visible(physical);
    for (int d = 0; d < device_count; d++) {
        devices[d].ordinal = d;
        devices[d].uuid = device_uuid(devices[d].physical);
    }
    return CUDA_SUCCESS;
}

CUresult DRV(cuInit)(unsigned flags) {
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    if (sim_forked && !mutated(MUTATION_fork_child)) return CUDA_ERROR_NOT_INITIALIZED;
    if (atomic_load(&sim_initialised)) return CUDA_SUCCESS;
    pthread_mutex_lock(&init_lock);
    CUresult result = CUDA_SUCCESS;
    if (!atomic_load(&sim_initialised)) {
        static bool read;
        if (!read) {
            read = true;
            options_read();
            cost_prepare();
            if (opt.log) entry_look_closer(1);
            if (opt.cost) entry_look_closer(1);
        }
        result = devices_init();
        if (result == CUDA_SUCCESS && device_count == 0) result = CUDA_ERROR_NO_DEVICE;
        if (result == CUDA_SUCCESS) result = space_init();
        if (result == CUDA_SUCCESS) {
            entry_join(sim_set, sim_slot);
            pthread_atfork(NULL, NULL, after_fork_in_child);
            atomic_store(&sim_initialised, true);
            entry_look_closer(-1);       /* the reason that entry_slow began with */
        } else if (sim_slot >= 0) {
            set_lock(sim_set);
            sim_set->slot[sim_slot].pid = 0;
            set_unlock(sim_set);
        }
    }
    pthread_mutex_unlock(&init_lock);
    return result;
}

struct device *device_get(CUdevice ordinal) {
    return ordinal >= 0 && ordinal < device_count ? &devices[ordinal] : NULL;
}

#define DEVICE(d) device_get(d); if (!device) return CUDA_ERROR_INVALID_DEVICE

CUresult DRV(cuDeviceGet)(CUdevice *out, int ordinal) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!device_get(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *out = ordinal;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetCount)(int *count) {
    if (!count) return CUDA_ERROR_INVALID_VALUE;
    *count = device_count;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetName)(char *name, int length, CUdevice d) {
    struct device *device = DEVICE(d);
    if (!name || length <= 0) return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)length, "Simulated H100");
    (void)device;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetUuid)(CUuuid *uuid, CUdevice d) {
    struct device *device = DEVICE(d);
    if (!uuid) return CUDA_ERROR_INVALID_VALUE;
    *uuid = device->uuid;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetUuid_v2)(CUuuid *uuid, CUdevice d) { return DRV(cuDeviceGetUuid)(uuid, d); }

CUresult DRV(cuDeviceTotalMem_v2)(size_t *bytes, CUdevice d) {
    struct device *device = DEVICE(d);
    if (!bytes) return CUDA_ERROR_INVALID_VALUE;
    *bytes = sim_set->capacity[device->physical];
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceComputeCapability)(int *major, int *minor, CUdevice d) {
    struct device *device = DEVICE(d);
    (void)device;
    if (!major || !minor) return CUDA_ERROR_INVALID_VALUE;
    *major = opt.cc_major;
    *minor = opt.cc_minor;
    return CUDA_SUCCESS;
}

static const struct { CUdevice_attribute attribute; int value; } attributes[] = {
#define A(name, value) { CU_DEVICE_ATTRIBUTE_##name, value }
    A(MAX_THREADS_PER_BLOCK, 1024), A(MAX_BLOCK_DIM_X, 1024), A(MAX_BLOCK_DIM_Y, 1024), A(MAX_BLOCK_DIM_Z, 64),
    A(MAX_GRID_DIM_X, 2147483647), A(MAX_GRID_DIM_Y, 65535), A(MAX_GRID_DIM_Z, 65535),
    A(MAX_SHARED_MEMORY_PER_BLOCK, 49152), A(TOTAL_CONSTANT_MEMORY, 65536), A(WARP_SIZE, 32), A(MAX_PITCH, 2147483647),
    A(MAX_REGISTERS_PER_BLOCK, 65536), A(CLOCK_RATE, 1980000), A(TEXTURE_ALIGNMENT, 512), A(GPU_OVERLAP, 1),
    A(MULTIPROCESSOR_COUNT, 132), A(CAN_MAP_HOST_MEMORY, 1), A(SURFACE_ALIGNMENT, 512), A(CONCURRENT_KERNELS, 1),
    A(MAXIMUM_TEXTURE1D_WIDTH, 131072), A(MAXIMUM_TEXTURE2D_WIDTH, 131072), A(MAXIMUM_TEXTURE2D_HEIGHT, 65536),
    A(MAXIMUM_TEXTURE3D_WIDTH, 16384), A(MAXIMUM_TEXTURE3D_HEIGHT, 16384), A(MAXIMUM_TEXTURE3D_DEPTH, 16384),
    A(MAXIMUM_TEXTURE2D_LAYERED_WIDTH, 32768), A(MAXIMUM_TEXTURE2D_LAYERED_HEIGHT, 32768),
    A(MAXIMUM_TEXTURE2D_LAYERED_LAYERS, 2048), A(MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 32768),
    A(MAXIMUM_TEXTURE1D_LAYERED_LAYERS, 2048), A(MAXIMUM_TEXTURE2D_GATHER_WIDTH, 32768),
    A(MAXIMUM_TEXTURE2D_GATHER_HEIGHT, 32768), A(MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE, 8192),
    A(MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE, 8192), A(MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE, 32768),
    A(MAXIMUM_TEXTURECUBEMAP_WIDTH, 32768), A(MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH, 32768),
    A(MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS, 2046), A(MAXIMUM_SURFACE1D_WIDTH, 32768), A(MAXIMUM_SURFACE2D_WIDTH, 131072),
    A(MAXIMUM_SURFACE2D_HEIGHT, 65536), A(MAXIMUM_SURFACE3D_WIDTH, 16384), A(MAXIMUM_SURFACE3D_HEIGHT, 16384),
    A(MAXIMUM_SURFACE3D_DEPTH, 16384), A(MAXIMUM_SURFACE1D_LAYERED_WIDTH, 32768), A(MAXIMUM_SURFACE1D_LAYERED_LAYERS, 2048),
    A(MAXIMUM_SURFACE2D_LAYERED_WIDTH, 32768), A(MAXIMUM_SURFACE2D_LAYERED_HEIGHT, 32768),
    A(MAXIMUM_SURFACE2D_LAYERED_LAYERS, 2048), A(MAXIMUM_SURFACECUBEMAP_WIDTH, 32768),
    A(MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH, 32768), A(MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS, 2046),
    A(MAXIMUM_TEXTURE1D_LINEAR_WIDTH, 268435456), A(MAXIMUM_TEXTURE2D_LINEAR_WIDTH, 131072),
    A(MAXIMUM_TEXTURE2D_LINEAR_HEIGHT, 65000), A(MAXIMUM_TEXTURE2D_LINEAR_PITCH, 2097120),
    A(MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH, 32768), A(MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT, 32768),
    A(MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH, 32768), A(CAN_TEX2D_GATHER, 1),
    A(ECC_ENABLED, 1), A(PCI_DEVICE_ID, 0), A(MEMORY_CLOCK_RATE, 2619000), A(GLOBAL_MEMORY_BUS_WIDTH, 5120),
    A(L2_CACHE_SIZE, 52428800), A(MAX_THREADS_PER_MULTIPROCESSOR, 2048), A(ASYNC_ENGINE_COUNT, 3), A(UNIFIED_ADDRESSING, 1),
    A(TEXTURE_PITCH_ALIGNMENT, 32), A(STREAM_PRIORITIES_SUPPORTED, 1), A(GLOBAL_L1_CACHE_SUPPORTED, 1),
    A(LOCAL_L1_CACHE_SUPPORTED, 1), A(MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 233472), A(MAX_REGISTERS_PER_MULTIPROCESSOR, 65536),
    A(MANAGED_MEMORY, 1), A(SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, 2), A(CONCURRENT_MANAGED_ACCESS, 1),
    A(COMPUTE_PREEMPTION_SUPPORTED, 1), A(CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 1), A(CAN_USE_STREAM_MEM_OPS_V1, 1),
    A(CAN_USE_64_BIT_STREAM_MEM_OPS_V1, 1), A(CAN_USE_STREAM_WAIT_VALUE_NOR_V1, 1), A(COOPERATIVE_LAUNCH, 1),
    A(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448), A(HOST_REGISTER_SUPPORTED, 1), A(VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1),
    A(HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1), A(MAX_BLOCKS_PER_MULTIPROCESSOR, 32),
    A(MAX_PERSISTING_L2_CACHE_SIZE, 32768000), A(MAX_ACCESS_POLICY_WINDOW_SIZE, 134213632),
    A(RESERVED_SHARED_MEMORY_PER_BLOCK, 1024), A(READ_ONLY_HOST_REGISTER_SUPPORTED, 1), A(MEMORY_POOLS_SUPPORTED, 1),
    A(MEMPOOL_SUPPORTED_HANDLE_TYPES, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR), A(CLUSTER_LAUNCH, 1),
    A(CAN_USE_64_BIT_STREAM_MEM_OPS, 1), A(CAN_USE_STREAM_WAIT_VALUE_NOR, 1), A(IPC_EVENT_SUPPORTED, 1),
    A(MEM_SYNC_DOMAIN_COUNT, 4), A(TENSOR_MAP_ACCESS_SUPPORTED, 1), A(UNIFIED_FUNCTION_POINTERS, 1), A(NUMA_ID, -1),
    A(HOST_NUMA_ID, -1),
#undef A
};

CUresult DRV(cuDeviceGetAttribute)(int *out, CUdevice_attribute attribute, CUdevice d) {
    struct device *device = DEVICE(d);
    if (!out || attribute < 1 || attribute >= CU_DEVICE_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
    *out = 0;                            /* attributes not in the table are features that this device lacks */
    for (size_t i = 0; i < COUNT_OF(attributes); i++)
        if (attributes[i].attribute == attribute) *out = attributes[i].value;
    if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) *out = opt.cc_major;
    if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) *out = opt.cc_minor;
    if (attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) *out = 0x51 + device->physical;
    if (opt.cc_major < 9 && (attribute == CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH ||
                             attribute == CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED)) *out = 0;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetProperties)(CUdevprop *p, CUdevice d) {
    struct device *device = DEVICE(d);
    (void)device;
    if (!p) return CUDA_ERROR_INVALID_VALUE;
    *p = (CUdevprop){ .maxThreadsPerBlock = 1024, .maxThreadsDim = { 1024, 1024, 64 }, .maxGridSize = { 2147483647, 65535, 65535 },
                      .sharedMemPerBlock = 49152, .totalConstantMemory = 65536, .SIMDWidth = 32, .memPitch = 2147483647,
                      .regsPerBlock = 65536, .clockRate = 1980000, .textureAlign = 512 };
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetPCIBusId)(char *out, int length, CUdevice d) {
    struct device *device = DEVICE(d);
    if (!out || length <= 0) return CUDA_ERROR_INVALID_VALUE;
    snprintf(out, (size_t)length, "0000:%02X:00.0", 0x51 + device->physical);
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetByPCIBusId)(CUdevice *out, const char *text) {
    unsigned a = 0, b = 0, c = 0, f = 0;
    if (!out || !text) return CUDA_ERROR_INVALID_VALUE;
    if (sscanf(text, "%x:%x:%x.%x", &a, &b, &c, &f) < 3) {
        a = 0;
        if (sscanf(text, "%x:%x.%x", &b, &c, &f) < 2) return CUDA_ERROR_INVALID_VALUE;
    }
    for (int d = 0; d < device_count; d++)
        if (a == 0 && c == 0 && (int)b == 0x51 + devices[d].physical) {
            *out = d;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_DEVICE;
}

CUresult DRV(cuDeviceCanAccessPeer)(int *out, CUdevice d, CUdevice peer) {
    struct device *device = DEVICE(d);
    (void)device;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!device_get(peer)) return CUDA_ERROR_INVALID_DEVICE;
    *out = d != peer;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetP2PAttribute)(int *out, CUdevice_P2PAttribute attribute, CUdevice d, CUdevice peer) {
    struct device *device = DEVICE(d);
    (void)device;
    if (!out || d == peer) return CUDA_ERROR_INVALID_VALUE;
    if (!device_get(peer)) return CUDA_ERROR_INVALID_DEVICE;
    *out = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetNvSciSyncAttributes)(void *list, CUdevice d, int flags) {
    (void)list, (void)d, (void)flags;
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult DRV(cuDeviceGetTexture1DLinearMaxWidth)(size_t *out, CUarray_format format, unsigned channels, CUdevice d) {
    struct device *device = DEVICE(d);
    (void)device, (void)format;
    if (!out || channels < 1 || channels > 4) return CUDA_ERROR_INVALID_VALUE;
    *out = 268435456;
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceGetExecAffinitySupport)(int *out, CUexecAffinityType type, CUdevice d) {
    struct device *device = DEVICE(d);
    (void)device, (void)type;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = 0;
    return CUDA_SUCCESS;
}

CUresult DRV(cuFlushGPUDirectRDMAWrites)(CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope) {
    (void)target, (void)scope;
    return CUDA_ERROR_NOT_SUPPORTED;
}
