/* target.h: where a dump goes. */
#ifndef COPPICE_STATS_TARGET_H
#define COPPICE_STATS_TARGET_H
#include "base/text.h"

/* Remembers the working folder, in which a relative STATS_FILE lies from now on. */
void target_settle(void);
/* Writes a finished dump where STATS_FILE says or to standard error. Not concurrently. Async-signal-safe. */
void target_write(const struct text *dump);
#endif
