/* drive.c: the pool under a trace; see replay.h. */
#include "base/clock.h"
#include "base/text.h"
#include "device/device.h"
#include "device/fence.h"
#include "device/trace_format.h"
#include "device/work.h"
#include "replay/replay.h"
#include "stats/service.h"
#include "stats/totals.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TRACE_CONTEXTS = 256, WORK_MOST = 64 << 10 };

static void *library;
static void *find(const char *name) { return dlsym(library, name); }

/* What replaying needs of the driver beyond what the pool does. */
static struct {
    CUresult (*cuInit)(unsigned), (*cuDeviceGetCount)(int *), (*cuDevicePrimaryCtxRetain)(CUcontext *, CUdevice);
    CUresult (*cuMemsetD8Async)(CUdeviceptr, unsigned char, size_t, CUstream);
    uint64_t (*simctl_calls)(const char *set, int pid, const char *name);
} call;

/* Addresses of the trace and what they are here: open addressing, linear probes, deletion by moving back. */
struct entry { uint64_t recorded, here; uint32_t context; };
static struct { struct entry *slot; size_t mask, count; } live;

static size_t place(uint64_t address, uint32_t context) {
    return (size_t)(((address >> 8) + context * 0x10001u) * 0x9e3779b97f4a7c15ull >> 20) & live.mask;
}

static bool map_init(size_t slots) {
    live.count = 0, live.mask = slots - 1;
    return (live.slot = calloc(slots, sizeof *live.slot)) != NULL;
}

/* The slot of that address, or the empty one where it belongs. */
static struct entry *find_slot(uint64_t address, uint32_t context) {
    size_t i = place(address, context);
    while (live.slot[i].here && (live.slot[i].recorded != address || live.slot[i].context != context)) i = (i + 1) & live.mask;
    return &live.slot[i];
}

static bool map_put(uint64_t address, uint32_t context, uint64_t here) {
    if (live.count * 2 > live.mask) {
        struct entry *old = live.slot;
        size_t mask = live.mask;
        if (!map_init((mask + 1) * 2)) return false;
        for (size_t i = 0; i <= mask; i++)
            if (old[i].here) *find_slot(old[i].recorded, old[i].context) = old[i], live.count++;
        free(old);
    }
    *find_slot(address, context) = (struct entry){ address, here, context };
    live.count++;
    return true;
}

static void map_drop(struct entry *gone) {
    size_t hole = (size_t)(gone - live.slot);
    for (size_t i = (hole + 1) & live.mask; live.slot[i].here; i = (i + 1) & live.mask) {
        size_t home = place(live.slot[i].recorded, live.slot[i].context);
        if (((i - home) & live.mask) < ((i - hole) & live.mask)) continue;
        live.slot[hole] = live.slot[i];
        hole = i;
    }
    live.slot[hole].here = 0;
    live.count--;
}

/* --- contexts: each of the trace's is the primary context of a device here */
static CUcontext context_here[TRACE_CONTEXTS];

static const char *enter(const struct event *e, const struct drive_options *o) {
    static int now = -1;
    if (now == e->context) return NULL;
    int devices = 0;
    call.cuDeviceGetCount(&devices);
    int device = devices > 0 ? (o->device + e->device) % devices : 0;
    CUcontext *c = &context_here[e->context];
    if (!*c && call.cuDevicePrimaryCtxRetain(c, device) != CUDA_SUCCESS) return "the device's context cannot be had";
    if (driver.cuCtxSetCurrent(*c) != CUDA_SUCCESS) return "the device's context cannot be used";
    context_set_current(*c);
    now = e->context;
    return NULL;
}

/* --- events */
static void measure(struct report *r) {
    uint64_t all_live = 0, all_reserved = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        all_live += device_live(contexts[i]->counters);
        all_reserved += counter_get(&contexts[i]->counters->reserved_bytes);
    }
    if (all_live > r->peak_live) r->peak_live = all_live;
    if (all_reserved > r->peak_reserved) r->peak_reserved = all_reserved;
    r->live = all_live, r->reserved = all_reserved;
}

static void replay_free(struct entry *e, struct report *r) {
    r->frees++;
    device_free(e->here);
    map_drop(e);
}

static void replay_alloc(const struct event *e, const struct drive_options *o, struct report *r) {
    CUdeviceptr here = 0;
    struct entry *old = find_slot(e->address, e->context);
    if (old->here) replay_free(old, r); /* its free was not recorded, or did not fit */
    r->allocs++;
    if (device_alloc(&here, e->size) != CUDA_SUCCESS) {
        r->failed++;
        return;
    }
    if (!map_put(e->address, e->context, here)) device_free(here);
    measure(r);
    if (!o->work || !call.cuMemsetD8Async) return;
    call.cuMemsetD8Async(here, 1, e->size < WORK_MOST ? e->size : WORK_MOST, NULL);
    work_submitted();
}

static void replay_sync(void) {
    uint64_t ticket = fence_before_synchronize();
    CUresult answer = driver.cuCtxSynchronize();
    fence_after_synchronize(ticket, answer == CUDA_SUCCESS);
}

static void replay_event(const struct event *e, const struct drive_options *o, struct report *r) {
    struct entry *known;
    switch (e->kind) {
    case TRACE_ALLOC:
        if (e->size) replay_alloc(e, o, r);
        break;
    case TRACE_FREE:
        if (e->flags & (TRACE_REFUSED | TRACE_FOREIGN)) break;
        known = find_slot(e->address, e->context);
        if (known->here) replay_free(known, r);
        else r->unknown_frees++;
        break;
    case TRACE_SYNC:
        if (o->sync) replay_sync();
        break;
    case TRACE_OTHER: r->others++; break;
    default: break;
    }
}

static void wait_until(uint64_t when) {
    for (uint64_t now; (now = clock_ns()) < when;) {
        struct timespec left = { .tv_sec = (time_t)((when - now) / 1000000000u), .tv_nsec = (long)((when - now) % 1000000000u) };
        nanosleep(&left, NULL);
    }
}

/* The simulated device counts calls; its control library lies beside it. */
static void find_ground_truth(const char *name) {
    char path[4096];
    struct text t = text_in(path, sizeof path);
    const char *slash = strrchr(name, '/');
    for (const char *c = name; slash && c <= slash; c++) text_char(&t, *c);
    text_add(&t, "libcoppice-simctl.so");
    void *control = t.full ? NULL : dlopen(path, RTLD_NOW);
    bool (*present)(void) = control ? (bool (*)(void))dlsym(control, "simctl_present") : NULL;
    if (present && present()) *(void **)&call.simctl_calls = dlsym(control, "simctl_calls");
}

static const char *open_driver(const struct drive_options *o) {
    static char why[256];
    library = dlopen(o->library, RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        const char *error = dlerror();
        struct text t = text_in(why, sizeof why);
        text_add(&t, "no CUDA driver: "), text_add(&t, error ? error : o->library);
        return why;
    }
    driver_fill(find);
#define X(name) *(void **)&call.name = find(#name);
    X(cuInit) X(cuDeviceGetCount) X(cuDevicePrimaryCtxRetain) X(cuMemsetD8Async)
#undef X
    find_ground_truth(o->library);
    bool enough = driver_ready() && call.cuInit && call.cuDeviceGetCount && call.cuDevicePrimaryCtxRetain;
    int devices = 0;
    if (!enough) return "the CUDA driver lacks functions";
    if (call.cuInit(0) != CUDA_SUCCESS || call.cuDeviceGetCount(&devices) != CUDA_SUCCESS) devices = 0;
    if (devices == 0) return "no CUDA device";
    return o->device < devices ? NULL : "there is no such device";
}

static uint64_t driver_calls(const char *name) { return call.simctl_calls ? call.simctl_calls(NULL, getpid(), name) : 0; }

static uint64_t memory_calls(void) {
    static const char *const names[] = { "cuMemAlloc_v2", "cuMemFree_v2", "cuMemAllocPitch_v2", "cuMemCreate", "cuMemRelease",
                                         "cuMemAddressReserve", "cuMemAddressFree", "cuMemMap", "cuMemUnmap", "cuMemSetAccess" };
    uint64_t calls = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) calls += driver_calls(names[i]);
    return calls;
}

static void total(struct report *r) {
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++) {
        struct device_totals t = device_totals(contexts[i]->counters);
        r->hits += t.hits, r->misses += t.misses, r->driver_allocs += t.driver_allocs, r->driver_frees += t.driver_frees;
        r->fences += t.fences, r->fence_waits += t.fence_waits, r->oom_recoveries += t.oom_recoveries;
    }
}

/* As the cleaner does under a server, once a second. */
static uint64_t give_back(void) {
    pool_chore(false);
    return 1000000000u;
}

const char *drive(const struct trace *t, const struct drive_options *o, struct report *r) {
    *r = (struct report){ 0 };
    const char *wrong = open_driver(o);
    if (wrong) return wrong;
    if (!map_init(1 << 12)) return "no memory";
    service_chore(give_back);
    uint64_t begin = clock_ns(), calls = driver_calls(NULL), memory = memory_calls();
    for (size_t i = 0; i < t->count; i++) {
        if (o->pace) wait_until(begin + (uint64_t)(t->event[i].time - t->event[0].time));
        if ((wrong = enter(&t->event[i], o))) return wrong;
        replay_event(&t->event[i], o, r);
    }
    r->seconds = (double)(clock_ns() - begin) / 1e9;
    r->driver_calls = driver_calls(NULL) - calls, r->memory_calls = memory_calls() - memory;
    r->driver_calls_known = call.simctl_calls != NULL;
    measure(r);
    total(r);
    return NULL;
}
