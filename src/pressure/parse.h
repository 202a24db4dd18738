/* parse.h: what the files of /proc and of control groups say, as numbers. Pure: text in, values out; any text may come.
 *
 * A *group* is a memory control group, of version 1 (a controller's own tree) or 2 (one tree for all). Where it is found
 * has two halves: /proc/self/cgroup names it inside its tree, /proc/self/mountinfo says which part of the tree is mounted
 * where. A *stall* is time in which some task of the machine or group waited for memory (PSI). */
#ifndef COPPICE_PRESSURE_PARSE_H
#define COPPICE_PRESSURE_PARSE_H
#include "base/text.h"

enum group_version { GROUP_V1 = 1, GROUP_V2 = 2 };

/* The folder of this process's memory group, from the texts of both files. False: it has none, or cannot see it. */
bool parse_group_folder(const char *cgroup, const char *mountinfo, enum group_version version, struct text *folder);
/* A file that is one number. False: "max", or no number. */
bool parse_number(const char *file, uint64_t *number);
/* The number after `key` at the start of a line, separated by blanks or a colon: memory.stat, memory.events, meminfo. */
bool parse_key(const char *file, const char *key, uint64_t *number);
/* Microseconds that some task has stalled for, since the machine's start: the `total=` of line "some". */
bool parse_stall(const char *file, uint64_t *microseconds);
#endif
