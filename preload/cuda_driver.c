/* cuda_driver.c: the table of the driver's hooks, where they lead, and how libraries find them: by symbol, by dlsym and by
 * cuGetProcAddress; and the hooks that only pass through, generated from NVIDIA's header.
 *
 * Every library in a process reaches the driver, also those with a CUDA runtime of their own inside (cuBLAS, NCCL), so
 * this is where misses, out-of-memory and teardown are handled. Which functions are hooked says cuda_calls.def; what is
 * not only passed through stands in cuda_memory.c and cuda_context.c. Each exported ABI variant has its own hook;
 * cuGetProcAddress is routed by the address that the real one returned, so the caller gets the hook of exactly that variant. */
#include "preload/cuda_hook.h"
#include "base/start.h"
#include "device/work.h"
#include "heap/thread.h"
#include "intern/peers.h"
#include "preload/cuda_weights.h"
#include "preload/symbol_lookup.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

enum hook_kind { ACTED, ALLOC, SIZED, WORK, WAIT };
static const struct hook_row { const char *name; void *hook; enum hook_kind kind; } hook_rows[HOOK_COUNT] = {
#define KNOWN_NAME(name)
#define ACTED_HOOK(name) { #name, (void *)name, ACTED },
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights) { #name, (void *)name, kind },
#include "cuda_hooks.inc"
};
/* Every name of the header, without ABI suffixes, sorted. */
static const char *const known_names[] = {
#undef ACTED_HOOK
#undef PASS_HOOK
#undef KNOWN_NAME
#define ACTED_HOOK(name)
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights)
#define KNOWN_NAME(name) name,
#include "cuda_hooks.inc"
};

/* Written by whoever comes first; racing threads write the same values, so no lock is held across dlsym. */
void *_Atomic cuda_real[HOOK_COUNT];
static void *_Atomic hook_own[HOOK_COUNT]; /* the driver library's own, which cuGetProcAddress answers */
static counter *hook_calls[HOOK_COUNT];
_Atomic bool cuda_in_force;

/* What a hook answers when there is no driver behind it: nobody who has none should come here. */
static CUresult no_driver(void) { return CUDA_ERROR_NOT_INITIALIZED; }

static void *find_for_device(const char *name) { return next_symbol(name, "libcuda.so.1"); }

static COLD bool open_driver(void) {
    if (!library_is_loaded("libcuda.so.1")) return false;
    heap_settle_child(); /* what is counted from here on is not the parent's */
    void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    for (unsigned i = 0; i < HOOK_COUNT; i++) {
        atomic_store(&hook_own[i], real_dlsym(handle, hook_rows[i].name));
        if (hook_rows[i].kind == ALLOC || hook_rows[i].kind == SIZED) hook_calls[i] = counters_call(hook_rows[i].name);
        atomic_store(&cuda_real[i], next_symbol(hook_rows[i].name, "libcuda.so.1"));
    }
    dlclose(handle);
    dlerror();
    driver_fill(find_for_device);
    weights_start(), peers_install();
    sites_prime();
    atomic_store_explicit(&cuda_in_force, coppice_start() == MODE_ON && driver_ready(), memory_order_release);
    return true;
}

bool cuda_driver_open(void) {
    static _Atomic bool opened;
    if (likely(atomic_load_explicit(&opened, memory_order_acquire))) return true;
    if (!open_driver()) return false;
    atomic_store_explicit(&opened, true, memory_order_release);
    return true;
}

void *cuda_find_real(enum hook_id id) {
    cuda_driver_open();
    void *found = atomic_load(&cuda_real[id]);
    return found ? found : (void *)no_driver;
}

static bool known(const char *name) {
    char base[96];
    size_t n = strlen(name);
    if (n >= sizeof base) return false;
    memcpy(base, name, n + 1);
    if (n > 5 && (strcmp(base + n - 5, "_ptsz") == 0 || strcmp(base + n - 5, "_ptds") == 0)) base[n -= 5] = 0;
    if (n > 3 && base[n - 3] == '_' && base[n - 2] == 'v') base[n - 3] = 0;
    size_t low = 0, high = sizeof known_names / sizeof *known_names;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(base, known_names[middle]);
        if (order == 0) return true;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return false;
}

void *cuda_driver_route(void *real, const char *name) {
    if (!cuda_driver_open()) return real;
    for (unsigned i = 0; i < HOOK_COUNT; i++)
        if (real == atomic_load(&hook_own[i]) || real == atomic_load(&cuda_real[i])) return hook_rows[i].hook;
    if (!known(name)) work_is_untracked(); /* it may submit work that we never see */
    return real;
}

bool cuda_driver_has_hook(const char *name) {
    for (unsigned i = 0; i < HOOK_COUNT; i++)
        if (strcmp(hook_rows[i].name, name) == 0) return true;
    return false;
}

/* In a fork's child nothing of the parent's CUDA state may be used: every hook passes through. */
static void fork_child(void) {
    atomic_store(&cuda_in_force, false);
    device_fork_child(), peers_fork_child();
}
static __attribute__((constructor)) void watch_fork(void) { pthread_atfork(NULL, NULL, fork_child); }

/* --- hooks that pass through, generated: one macro, so that none can forget a step */
#undef ACTED_HOOK
#undef PASS_HOOK
#undef KNOWN_NAME
#define ACTED_HOOK(name)
#define KNOWN_NAME(name)
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights) \
    EXPORT CUresult name params { \
        __typeof__(&name) real = REAL(name); \
        struct room room = { 0 }; \
        CUresult answer; \
        if (!IN_FORCE()) return real args; \
        if (kind == ALLOC || kind == SIZED) counter_add(hook_calls[HOOK_##name], 1); \
        if (kind == SIZED && !room_is_left(bytes)) return CUDA_ERROR_OUT_OF_MEMORY; \
        do { \
            if (kind == WORK && unlikely(atomic_load_explicit(&weights_on, memory_order_relaxed))) answer = weights; \
            else answer = real args; \
            if (kind == WORK) stream_worked(stream); \
        } while (room_made(&room, answer)); \
        if (unlikely(room.links > 0)) room_settled(&room, answer); \
        if (unlikely(answer != CUDA_SUCCESS)) context_faulted(answer); \
        else { trace; } \
        return answer; \
    }
#include "cuda_hooks.inc"

/* --- where libraries ask for everything else */
static void route_answer(CUresult answer, const char *name, void **function) {
    if (cuda_driver_open() && IN_FORCE() && answer == CUDA_SUCCESS && function && *function) *function = cuda_driver_route(*function, name);
}

EXPORT CUresult cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags) {
    CUresult answer = REAL(cuGetProcAddress)(name, function, version, flags);
    route_answer(answer, name, function);
    return answer;
}

EXPORT CUresult cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status) {
    CUresult answer = REAL(cuGetProcAddress_v2)(name, function, version, flags, status);
    route_answer(answer, name, function);
    return answer;
}

/* A private table may submit work that no hook sees. */
EXPORT CUresult cuGetExportTable(const void **table, const CUuuid *id) {
    CUresult answer = REAL(cuGetExportTable)(table, id);
    if (answer == CUDA_SUCCESS) work_is_untracked();
    return answer;
}
