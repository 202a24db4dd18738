/* symbol_lookup.h: how the hooks find the real functions, and how programs that look functions up find the hooks. */
#ifndef COPPICE_PRELOAD_SYMBOL_LOOKUP_H
#define COPPICE_PRELOAD_SYMBOL_LOOKUP_H
#include <stdbool.h>

/* The real dlsym, found without dlsym. Never NULL. */
void *real_dlsym(void *handle, const char *name);
/* The function that comes after us under `name`: in the global order, else in the library `soname` if it is loaded.
 * NULL when there is none. Leaves no error behind for dlerror. */
void *next_symbol(const char *name, const char *soname);
bool library_is_loaded(const char *soname);

/* cuda_driver.c: fills the table of real driver functions if the driver library is loaded; repeated calls cost a load. */
bool cuda_driver_open(void);
/* The hook that stands for the driver function at `real`, or `real` itself. `name` as it was asked for. */
void *cuda_driver_route(void *real, const char *name);
bool cuda_driver_has_hook(const char *name);
/* cuda_runtime.c: likewise for the runtime's functions. */
void *cuda_runtime_route(void *real, const char *name);
bool cuda_runtime_has_hook(const char *name);
#endif
