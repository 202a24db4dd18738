/* coppice.h: what a program may ask of Coppice itself. Nothing here is needed to profit from it: libcoppice.so is
 * preloaded into programs that know nothing of it. A program that wants to know finds these by dlsym(RTLD_DEFAULT, …). */
#ifndef COPPICE_H
#define COPPICE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define COPPICE_VERSION_MAJOR 0
#define COPPICE_VERSION_MINOR 1
#define COPPICE_VERSION_PATCH 0

/* The version of the library that is loaded, such as "0.1.0". Static text; any thread, any time. */
const char *coppice_version(void);

/* --- equal contents, held once (docs/INTERN.md) */

/* The one address of this content: calls with equal bytes and an equal tag give the same pointer for as long as it is
 * referenced. Each call adds a reference. What it points at is aligned to 8, stays as it is, and cannot be written:
 * an attempt is SIGSEGV. `bytes` remain the caller's.
 * NULL: the caller goes on with its own copy. That is so when Coppice stands aside in this process or COPPICE_INTERN=off,
 * when length is above 1 MiB, when COPPICE_INTERN_MAX_ENTRIES contents are all referenced, and when memory is short.
 * Any thread; not in a signal handler. A fork's child has all contents and references of its parent as its own. */
const void *coppice_intern(const void *bytes, size_t length, uint32_t tag);
/* Takes back the reference of one coppice_intern. The content may then vanish at any time unless others refer to it.
 * NULL is nothing; any other pointer must come from coppice_intern. Any thread; not in a signal handler. */
void coppice_release(const void *interned);

#ifdef __cplusplus
}
#endif
#endif
