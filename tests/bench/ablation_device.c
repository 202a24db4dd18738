/* ablation_device: what the device pool does with a trace, for tests/bench/ablation.py. Time is the trace's.
 * stdin: struct event, in order. Arguments: bytes of the device; types (1: an event's type is pushed, as a rule would say it); cleanup
 * (0: none, 1: the pool's chores once a second, 2: where the device is fuller than COPPICE_PRESSURE says, those of a tight one).
 * Its driver is modelled: it has so many bytes, and a call that takes or gives memory costs CALL_NS. One line of figures:
 * peak and end (two minutes after the last event) of what is reserved, peak live, allocations, failures, driver calls, ns in all, ns of
 * the hundredth slowest allocation, GB times seconds kept for nothing. */
#include "traces_time.h"
#include "device/device.h"
#include "device/pool.h"
#include "sites/type.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_NS = 34000, IDLE_S = 120, HANDLES = 1 << 16, SITE_BYTES = 64 };

struct event { uint64_t when, size; uint32_t handle; uint16_t site; uint8_t type, is_alloc; };

static uint64_t capacity, used, next_address = 1ull << 40, calls, peak_used;
static CUdeviceptr held[HANDLES];
static uint64_t asked[HANDLES];

/* --- a driver */

/* Sizes by address: addresses are never used again. */
enum { GRAIN_BITS = 21, GRAINS = 1 << 24 };
static uint32_t *grains;
static CUcontext context = (CUcontext)0x1000;

static CUresult take(CUdeviceptr *address, size_t size) {
    uint64_t n = (size + ((uint64_t)1 << GRAIN_BITS) - 1) >> GRAIN_BITS, at = next_address;
    calls++;
    if (used + size > capacity) return CUDA_ERROR_OUT_OF_MEMORY;
    if (((at - (1ull << 40)) >> GRAIN_BITS) + n > GRAINS) exit((fputs("ablation_device: too many driver allocations\n", stderr), 1));
    next_address += n << GRAIN_BITS;
    grains[(at - (1ull << 40)) >> GRAIN_BITS] = (uint32_t)((size + 255) >> 8);
    used += (size + 255) & ~(size_t)255;
    if (used > peak_used) peak_used = used;
    return *address = at, CUDA_SUCCESS;
}
static CUresult give(CUdeviceptr address) {
    calls++;
    used -= (uint64_t)grains[(address - (1ull << 40)) >> GRAIN_BITS] << 8;
    return CUDA_SUCCESS;
}
static CUresult works(void) { return CUDA_SUCCESS; }
static CUresult get_current(CUcontext *c) { return *c = context, CUDA_SUCCESS; }
static CUresult total(size_t *bytes, CUdevice device) { return (void)device, *bytes = capacity, CUDA_SUCCESS; }
static CUresult info(size_t *left, size_t *all) { return *left = capacity - used, *all = capacity, CUDA_SUCCESS; }
static void *find(const char *name) {
    static const struct { const char *name; void *is; } own[] = { { "cuCtxGetCurrent", get_current }, { "cuDeviceTotalMem_v2", total },
        { "cuMemGetInfo_v2", info }, { "cuMemAlloc_v2", take }, { "cuMemFree_v2", give } };
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) if (strcmp(own[i].name, name) == 0) return own[i].is;
    return (void *)works;
}

/* --- the trace */

static uint32_t *slow; /* ns of each allocation */
static uint64_t allocs, failures, spent, live, peak_live;
static double waste;

static void allocate(const struct event *e, bool types) {
    uint64_t before = calls, start = real_ns();
    if (types) type_push((enum coppice_type)e->type);
    device_asked(e->size, (const void *)(uintptr_t)(0x10000 + e->site * SITE_BYTES), API_CUDA_MALLOC);
    bool ok = device_alloc(&held[e->handle], e->size) == CUDA_SUCCESS;
    if (types) type_pop();
    uint64_t took = real_ns() - start + (calls - before) * CALL_NS;
    spent += took, slow[allocs++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    if (!ok) {
        held[e->handle] = 0, failures++;
        return;
    }
    asked[e->handle] = e->size, live += e->size;
    if (live > peak_live) peak_live = live;
}

static void deallocate(const struct event *e) {
    uint64_t before = calls, start = real_ns();
    if (!held[e->handle]) return;
    device_free(held[e->handle]);
    live -= asked[e->handle], held[e->handle] = 0;
    spent += real_ns() - start + (calls - before) * CALL_NS;
}

static void until(uint64_t when, int cleanup) {
    static uint64_t next = 2 * SECOND;
    for (; next <= when; next += SECOND) {
        now_ns = next;
        if (cleanup) pool_chore(cleanup == 2 && (double)used * 1e3 > (double)option_number(pressure) * (double)capacity);
        waste += (double)(used - live) / 1e9;
    }
    now_ns = when;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    struct event e;
    capacity = count > 1 ? strtoull(arguments[1], NULL, 10) : (uint64_t)80 << 30;
    int types = count > 2 ? atoi(arguments[2]) : 0, cleanup = count > 3 ? atoi(arguments[3]) : 2;
    grains = calloc(GRAINS, sizeof *grains), slow = calloc((size_t)1 << 22, sizeof *slow);
    options_load();
    sites_start();
    driver_fill(find);
    context_set_current(context);
    while (fread(&e, sizeof e, 1, stdin) == 1) {
        until(SECOND + e.when, cleanup);
        if (e.is_alloc) allocate(&e, types == 1);
        else deallocate(&e);
    }
    until(now_ns + IDLE_S * SECOND, cleanup);
    qsort(slow, allocs, sizeof *slow, ascending);
    printf("%lu %lu %lu %lu %lu %lu %lu", peak_used, used, peak_live, allocs, failures, calls, spent);
    printf(" %u %.0f\n", allocs ? slow[allocs - 1 - allocs / 100] : 0, waste);
    return 0;
}
