/* records.h: counters files of any process, read by somebody else.
 * A *record* is a copy of one counters file, checked and made safe to print whatever was in the file. A process is
 * *alive* when its pid names a process with the same start time that is not a zombie. */
#ifndef COPPICE_CLI_RECORDS_H
#define COPPICE_CLI_RECORDS_H
#include "stats/counters.h"
#include <stdbool.h>

struct record {
    struct counters counters;
    bool alive;
};

/* Both return NULL, or what is wrong (static text, to be put behind the file's name or pid). */
const char *record_read(const char *path, struct record *record);
/* The newest file for this pid in any place. `path` (4096 bytes) gets its name. */
const char *record_find(int pid, char *path, struct record *record);
/* Removes what processes that are dead have left (stats/leftovers.h). */
void records_clean(void);
#endif
