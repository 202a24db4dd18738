/* target.h: where a dump goes. */
#ifndef COPPICE_STATS_TARGET_H
#define COPPICE_STATS_TARGET_H
#include "base/text.h"

/* Remembers the working folder, in which relative names of STATS_FILE and TRACE lie from now on. */
void target_settle(void);
/* The file that a pattern of those options names: %p is the process id, %% a percent sign. */
void target_expand(const char *pattern, struct text *path);
/* Writes a finished dump where STATS_FILE says or to standard error. Not concurrently. Async-signal-safe. */
void target_write(const struct text *dump);
#endif
