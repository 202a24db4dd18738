/* coppice.h: what a program may ask of Coppice itself. Nothing here is needed to profit from it: libcoppice.so is
 * preloaded into programs that know nothing of it. A program that wants to know finds these by dlsym(RTLD_DEFAULT, …). */
#ifndef COPPICE_H
#define COPPICE_H
#ifdef __cplusplus
extern "C" {
#endif

#define COPPICE_VERSION_MAJOR 0
#define COPPICE_VERSION_MINOR 1
#define COPPICE_VERSION_PATCH 0

/* The version of the library that is loaded, such as "0.1.0". Static text; any thread, any time. */
const char *coppice_version(void);

#ifdef __cplusplus
}
#endif
#endif
