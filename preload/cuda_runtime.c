/* cuda_runtime.c: the CUDA runtime's memory functions, as programs call them by symbol: a fast path, nothing more.
 * A hit and a cached free are answered here; everything else goes on to the runtime that the caller is bound to, which
 * reaches the driver's hooks below it, where misses, errors and counters are handled. So the runtime's own state (its
 * last error, its lazily made context) is always its own doing.
 * Which runtime is the caller's: the one among its own dependencies, for a process may hold several. */
#include <link.h> /* before the CUDA headers: struct link_map */
#include "device/device.h"
#include "base/start.h"
#include "preload/symbol_lookup.h"
#include <dlfcn.h>
#include <string.h>

/* The runtime's own types are not needed: its error codes are the driver's numbers by the public headers. */
enum { CUDA_RUNTIME_SUCCESS = 0, CUDA_RUNTIME_NOT_INITIALIZED = 3 };
#define RUNTIME_FUNCTIONS(X) X(cudaMalloc) X(cudaFree) X(cudaSetDevice)
enum runtime_id {
#define X(name) RUNTIME_##name,
    RUNTIME_FUNCTIONS(X)
#undef X
    RUNTIME_COUNT
};
EXPORT int cudaMalloc(void **address, size_t size);
EXPORT int cudaFree(void *address);
EXPORT int cudaSetDevice(int device);
static const struct { const char *name; void *hook; } rows[RUNTIME_COUNT] = {
#define X(name) { #name, (void *)name },
    RUNTIME_FUNCTIONS(X)
#undef X
};

static int no_runtime(void) { return CUDA_RUNTIME_NOT_INITIALIZED; }

/* In a process with one runtime this is it: next in the global order, else loaded under a usual name. */
static void *usual(enum runtime_id id) {
    static const char *const sonames[] = { "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0" };
    void *found = NULL;
    for (unsigned i = 0; i < sizeof sonames / sizeof *sonames && !found; i++) found = next_symbol(rows[id].name, sonames[i]);
    return found;
}

/* The runtime that the library around `caller` depends on; NULL when it has none of its own. */
static void *bound_to(enum runtime_id id, void *caller) {
    Dl_info info, other;
    struct link_map *map = NULL;
    if (!dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_name[0]) return NULL;
    void *handle = dlopen(map->l_name, RTLD_NOW | RTLD_NOLOAD), *found = NULL;
    if (handle) {
        found = real_dlsym(handle, rows[id].name);
        dlclose(handle);
    }
    if (!found) dlerror();
    /* another preload's own hook, or ours: not what the caller would reach next */
    if (found && (found == rows[id].hook || (dladdr(found, &other) && other.dli_fbase == info.dli_fbase))) found = NULL;
    return found;
}

static COLD void *find_real(enum runtime_id id, void *caller) {
    void *found = bound_to(id, caller);
    if (!found) found = usual(id);
    return found ? found : (void *)no_runtime;
}

/* A thread calls from few places: the last one's answer is remembered. */
static void *real_of(enum runtime_id id, void *caller) {
    static _Thread_local struct { void *caller, *real; } last[RUNTIME_COUNT];
    if (unlikely(last[id].caller != caller)) last[id].real = find_real(id, caller), last[id].caller = caller;
    return last[id].real;
}
#define REAL_FOR(name, caller) ((__typeof__(&name))real_of(RUNTIME_##name, caller))
#define REAL(name) REAL_FOR(name, __builtin_return_address(0))

void *cuda_runtime_route(void *real, const char *name) {
    for (unsigned i = 0; i < RUNTIME_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0) return usual(i) == real ? rows[i].hook : real;
    return real;
}

bool cuda_runtime_has_hook(const char *name) {
    for (unsigned i = 0; i < RUNTIME_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0) return true;
    return false;
}

static COLD int malloc_below(void **address, size_t size, void *caller) {
    thread_device.asked = true;
    int answer = REAL_FOR(cudaMalloc, caller)(address, size);
    thread_device.tried = thread_device.asked = false;
    return answer;
}

/* A hit: no CUDA call, no lock that another thread uses. */
EXPORT int cudaMalloc(void **address, size_t size) {
    device_asked(size, __builtin_return_address(0), API_CUDA_MALLOC);
    uint64_t hit = likely(address != NULL) ? device_hit(size) : 0;
    if (likely(hit)) {
        *address = (void *)hit;
        return CUDA_RUNTIME_SUCCESS;
    }
    return malloc_below(address, size, __builtin_return_address(0));
}

EXPORT int cudaFree(void *address) {
    if (likely(address && device_keep((uint64_t)address))) return CUDA_RUNTIME_SUCCESS;
    return REAL(cudaFree)(address);
}

/* The runtime may switch contexts by ways of its own: ask the driver afterwards, so that no later hit has to. */
EXPORT int cudaSetDevice(int device) {
    int answer = REAL(cudaSetDevice)(device);
    if (coppice_on() && driver_ready()) {
        context_forget_current();
        context_current();
    }
    return answer;
}
