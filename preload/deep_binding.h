/* deep_binding.h: libraries loaded with RTLD_DEEPBIND; see deep_binding.c. */
#ifndef COPPICE_PRELOAD_DEEP_BINDING_H
#define COPPICE_PRELOAD_DEEP_BINDING_H
#include "base/hints.h"

/* From now on libc's names of the malloc family mean ours for whoever looks them up in libc itself. Idempotent, any thread;
 * does nothing where another allocator stands before or behind us, or libc's table of symbols may not be written. */
void deep_binding_prepare(void) COLD;
#endif
