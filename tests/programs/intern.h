/* intern.h: coppice_intern as a program finds it that is not linked with the library. */
#ifndef PROGRAM_INTERN_H
#define PROGRAM_INTERN_H
#include "program.h"
#include <dlfcn.h>
#include <stdint.h>

static const void *(*intern)(const void *, size_t, uint32_t);
static void (*release)(const void *);

static inline void find_intern(void) {
    intern = (const void *(*)(const void *, size_t, uint32_t))dlsym(RTLD_DEFAULT, "coppice_intern");
    release = (void (*)(const void *))dlsym(RTLD_DEFAULT, "coppice_release");
    CHECK(intern && release);
}
#endif
