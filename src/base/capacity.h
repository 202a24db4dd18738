/* capacity.h: how much memory this process can really have.
 * The *capacity* is the least of what the machine has and what any control group on the way up from ours allows (version
 * 1 or 2). Reads a few small files; async-signal-safe; touches nobody's errno. */
#ifndef COPPICE_BASE_CAPACITY_H
#define COPPICE_BASE_CAPACITY_H
#include <stdint.h>

uint64_t capacity_of_host(void);
/* The same, given where the groups are mounted and the text of /proc/self/cgroup; UINT64_MAX: no limit. For tests. */
uint64_t capacity_of_groups(const char *mount, const char *groups);
#endif
