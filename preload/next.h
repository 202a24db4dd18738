/* next.h: what lies behind our hooks. `next.malloc` is the function that the program would have called without us.
 * The malloc family is glibc's own until next_resolve has run, so that a hook never looks anything up while it allocates;
 * the other functions are NULL until then, and their hooks use NEXT_READY first. */
#ifndef COPPICE_PRELOAD_NEXT_H
#define COPPICE_PRELOAD_NEXT_H
#include "base/hints.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

typedef void (*handler)(int);

struct next_table {
#define NEXT(returned, name, parameters) returned (*name) parameters;
#include "next.def"
#undef NEXT
};
extern struct next_table next;

/* Looks all of them up. Idempotent; may allocate. */
void next_resolve(void) COLD;
/* For functions that do not allocate. */
#define NEXT_READY(name) (likely(next.name != NULL) || (next_resolve(), next.name != NULL))
#endif
