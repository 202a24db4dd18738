/* leftovers.h: counters files of processes that have ended.
 *
 * They are kept so that `coppice stat` has numbers of what ended or was killed, for a day; and only LEFTOVERS_KEPT of a user in a folder,
 * the latest, since they are memory where the folder is /dev/shm. A process that nobody has seen dead yet counts as ended now. */
#ifndef COPPICE_STATS_LEFTOVERS_H
#define COPPICE_STATS_LEFTOVERS_H
#include <stdint.h>
#include <sys/types.h>

enum { LEFTOVERS_KEPT = 64 };
/* Removes what is too old or too many in the folder of `owner` in a place. Silent: it is nobody's order. Allocates. */
void leftovers_clean(unsigned place, uid_t owner);
/* Those of this process's user, at most once an hour. For the service thread. */
void leftovers_chore(uint64_t now_ns);
#endif
