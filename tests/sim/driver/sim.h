/* sim.h: the nouns that all parts of the simulated driver share.
 *
 * device    a simulated GPU: capacity, attributes, an arena of memory. Shared by all processes of one *set* (set.h).
 * context   owns streams and errors; primary (one a device) or created. A thread has a stack of them.
 * stream    a queue of operations, done in order by a worker thread of its own that is started with the first of them.
 * block     a range of device addresses that is valid to touch: an allocation, or a mapping of a physical handle.
 * window    the range of addresses in which every device pointer lies. It is reserved without any access, so that a host
 *           touch faults; the same memory is readable for us at `pointer + window.delta`, the *alias*.
 * handle    every CU* handle points at a struct that starts with a magic number. Handle memory is never given back to malloc,
 *           so that a stale handle is recognised instead of crashing us.
 *
 * Everything is hidden except the exports that gen_driver.py generates; they call sim_<name>, written DRV(name) in the sources. */
#ifndef SIM_H
#define SIM_H
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <cudaProfiler.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "decl.h"

#define DRV(name) sim_##name
#define TRY(call) do { CUresult try_result_ = (call); if (try_result_ != CUDA_SUCCESS) return try_result_; } while (0)
#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_UP(n, to) (((n) + (to) - 1) / (to) * (to))

enum { MAX_DEVICES = 8 };
extern const int sim_driver_version;     /* version.c: the library is linked once for each version that it can pretend to be */
#define PAGE ((size_t)2 << 20)          /* granularity of physical memory */
#define GRAIN ((size_t)512)             /* granularity of small allocations */

typedef unsigned long long u64;

/* ---- options (options.c): read once from the environment, before the first call does anything */
struct options {
    u64 capacity;
    int devices, cc_major, cc_minor;
    bool cost, strict, log, poison;
    u64 seed;                /* 0: no schedule exploration */
    u64 kernel_ns;           /* stream time of a kernel without a twin */
    u64 mutations;           /* bit set of enum mutation */
    const char *set_name;
    const char *zero;        /* SIM_ZERO, see launch.c */
};
extern struct options opt;
void options_read(void);
void sim_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Misuse that real CUDA leaves undefined: under SIM_STRICT the process ends with a report. */
void sim_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Planted mistakes, for proving that the conformance suite notices them: SIM_MUTATE=name[,name]. */
#define MUTATIONS(X) \
    X(reuse_before_fence)       /* memory is handed out again while work submitted before its free is still running */ \
    X(query_during_capture)     /* cuEventQuery and cuCtxRecordEvent are let through during a capture */ \
    X(double_free)              /* a second free succeeds */ \
    X(size_zero)                /* size 0 succeeds */ \
    X(interior_free)            /* an interior pointer is accepted by cuMemFree */ \
    X(unmap_in_use)             /* releasing a mapped handle takes its memory away */ \
    X(mem_info)                 /* cuMemGetInfo forgets what is allocated */ \
    X(reset_keeps)              /* primary-context reset keeps the allocations */ \
    X(ptds_legacy)              /* the per-thread default stream is the legacy one */ \
    X(async_free_sync)          /* cuMemFreeAsync frees at once instead of in stream order */ \
    X(fork_child)               /* a forked child may go on using the parent's context */ \
    X(ipc_reuse)                /* memory whose IPC handle was opened elsewhere is reused at once */ \
    X(buffer_id)                /* buffer ids are addresses */ \
    X(host_readable)            /* device memory is host memory */ \
    X(capture_alloc)            /* cuMemAlloc is let through during a global capture */ \
    X(partial_unmap)            /* part of a mapping may be unmapped */ \
    X(access_before_set)        /* a mapping is accessible without cuMemSetAccess */ \
    X(legacy_async)             /* the legacy stream does not wait for blocking streams */ \
    X(wait_event_ignored)       /* cuStreamWaitEvent does nothing */ \
    X(oom_off_by_one)           /* one allocation more than fits */
enum mutation {
#define X(name) MUTATION_##name,
    MUTATIONS(X)
#undef X
};
static inline bool mutated(enum mutation m) { return __builtin_expect((opt.mutations >> m) & 1, 0); }

/* ---- handles (object.c) */
enum magic {
    DEAD_OBJECT = 0,
    CONTEXT = 0x51300001, STREAM, EVENT, MODULE, LIBRARY, FUNCTION, GRAPH, GRAPH_NODE, GRAPH_EXEC, POOL, PHYSICAL, ARRAY, USER_OBJECT, LINKER
};
struct object { uint32_t magic; struct object *next_free; };
void *object_new(enum magic magic, size_t size);     /* zeroed */
void object_free(void *object);
static inline bool is(const void *handle, enum magic magic) {
    return handle && ((const struct object *)handle)->magic == (uint32_t)magic;
}

/* ---- time */
u64 now_ns(void);
void spin_ns(u64 ns);

/* ---- devices (device.c) */
struct arena;
struct device {
    int ordinal;             /* as the program counts, after CUDA_VISIBLE_DEVICES */
    int physical;            /* index in the set */
    CUuuid uuid;
    struct arena *arena;
    CUcontext primary;
    unsigned primary_refs, primary_flags;
    CUmemoryPool default_pool, current_pool;
};
extern struct device devices[MAX_DEVICES];
extern int device_count;
CUresult devices_init(void);
struct device *device_get(CUdevice ordinal);

/* ---- contexts (context.c) */
struct CUctx_st {
    struct object object;
    struct device *device;
    bool primary, active;                /* a released primary context is inactive, its handle stays */
    unsigned flags, api_version;
    u64 id;
    _Atomic int error;                   /* sticky; CUDA_SUCCESS while well */
    CUstream streams;                    /* linked by next_in_context, under order_lock (stream.h); each holds a reference */
    CUstream legacy;
    size_t limits[CU_LIMIT_MAX];
    int cache_config, shared_config;
    u64 peers;                           /* bit set of devices whose access is enabled */
};
enum { STACK_DEPTH = 32 };
struct thread_state {
    CUcontext stack[STACK_DEPTH];
    int depth;
    bool per_thread;                     /* inside a _ptsz or _ptds call */
    bool in_callback;
    CUstreamCaptureMode capture_mode;
    struct { CUcontext context; CUstream stream; u64 context_id; } own[8];   /* per-thread default streams */
    int own_count;
};
extern __thread struct thread_state self;
CUresult context_current(CUcontext *out);            /* fails when there is none, it is dead or has a sticky error */
CUresult context_usable(CUcontext context);          /* same for a given one */
CUcontext context_make(struct device *device, unsigned flags, bool primary);
void context_fault(CUcontext context, CUresult error);
void context_synchronize(CUcontext context);
void device_synchronize(struct device *device);      /* all contexts of that device */
void contexts_for_device(struct device *device, void (*visit)(CUcontext, void *), void *arg);

/* ---- devices of the set: accounting */
#include "set.h"

extern _Atomic bool sim_initialised;
#endif
