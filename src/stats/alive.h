/* alive.h: is the process that wrote a counters file still there?
 * A pid is used again, so a *process* is a pid and a start time (field 22 of /proc/pid/stat) in one pid namespace. */
#ifndef COPPICE_STATS_ALIVE_H
#define COPPICE_STATS_ALIVE_H
#include <stdbool.h>
#include <stdint.h>

/* The start time of a running process; false when there is none, or only what waits for its parent. */
bool process_start(uint64_t pid, uint64_t *ticks);
bool process_is_alive(uint64_t pid, uint64_t start_ticks);
/* The inode of this process's pid namespace. */
uint64_t process_namespace(void);
#endif
