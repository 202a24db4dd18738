/* symbol_lookup.c: dlsym, for programs that find CUDA by name at run time (Python's ctypes, JAX, libcudart itself), and
 * dlopen, for libraries that would not find us (deep_binding.h).
 *
 * A lookup by handle whose answer is a function that we stand in for answers the hook instead; which one is decided by
 * the *address* that the real dlsym returned, so that another library's function of the same name stays its own.
 * RTLD_NEXT means "next after the caller" and RTLD_DEFAULT depends on the caller's scope, so both are passed on with a
 * tail call: the real dlsym looks at its return address, and so does dlopen, which searches the caller's folders. This file
 * is compiled with -O2 in every build for that reason. */
#include "preload/symbol_lookup.h"
#include "base/hints.h"
#include "base/start.h"
#include "preload/deep_binding.h"
#include "preload/next.h"
#include "sites/site.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

typedef void *dlsym_function(void *handle, const char *name);
static _Atomic(dlsym_function *) the_real_dlsym;

/* dlvsym is not hooked; the version of dlsym is the libc's: 2.34 merged libdl, before that the port's first version. */
static COLD dlsym_function *find_real_dlsym(void) {
    static const char *const versions[] = { "GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17" };
    dlsym_function *found = NULL;
    for (unsigned i = 0; i < sizeof versions / sizeof *versions && !found; i++)
        found = (dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    atomic_store_explicit(&the_real_dlsym, found, memory_order_release);
    return found;
}

static inline dlsym_function *real(void) {
    dlsym_function *found = atomic_load_explicit(&the_real_dlsym, memory_order_acquire);
    return likely(found != NULL) ? found : find_real_dlsym();
}

void *real_dlsym(void *handle, const char *name) { return real()(handle, name); }

static bool is_driver_name(const char *name) { return name[0] == 'c' && name[1] == 'u' && name[2] >= 'A' && name[2] <= 'Z'; }
static bool is_runtime_name(const char *name) { return strncmp(name, "cuda", 4) == 0 && name[4] >= 'A' && name[4] <= 'Z'; }

bool library_is_loaded(const char *soname) {
    void *handle = dlopen(soname, RTLD_NOW | RTLD_NOLOAD);
    if (handle) dlclose(handle);
    else dlerror();
    return handle != NULL;
}

void *next_symbol(const char *name, const char *soname) {
    void *found = real()(RTLD_NEXT, name);
    if (found) return found;
    void *handle = soname ? dlopen(soname, RTLD_NOW | RTLD_NOLOAD) : NULL;
    if (handle) {
        found = real()(handle, name);
        dlclose(handle);
    }
    if (!found) dlerror();
    return found;
}

static COLD void *lookup_by_handle(void *handle, const char *name) {
    void *found = real()(handle, name);
    if (!found) return NULL;
    return is_driver_name(name) ? cuda_driver_route(found, name) : cuda_runtime_route(found, name);
}

/* Our exported hooks must not make a program believe that CUDA is there. */
static bool hides(const char *name) {
    return (is_driver_name(name) && cuda_driver_has_hook(name) && !library_is_loaded("libcuda.so.1")) ||
           (is_runtime_name(name) && cuda_runtime_has_hook(name) && !next_symbol(name, NULL));
}

EXPORT void *dlsym(void *handle, const char *name) {
    if (unlikely(name[0] == 'c' && name[1] == 'u') && handle != RTLD_NEXT && coppice_on() && (is_driver_name(name) || is_runtime_name(name))) {
        if (handle != RTLD_DEFAULT) return lookup_by_handle(handle, name);
        if (hides(name)) {
            void *volatile after_us = real()(RTLD_NEXT, name); /* asked from here: usually nothing, and dlerror says so */
            return after_us;
        }
    }
    return real()(handle, name);
}

EXPORT void *dlopen(const char *file, int mode) {
    if (unlikely(mode & RTLD_DEEPBIND)) deep_binding_prepare();
    if (file && coppice_on()) sites_library_comes(file);
    return NEXT_READY(dlopen) ? next.dlopen(file, mode) : NULL;
}
