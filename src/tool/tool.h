/* tool.h: what the programs `coppice` and `coppice-replay` have in common: how they say what is wrong, and where files of ours lie. */
#ifndef COPPICE_TOOL_TOOL_H
#define COPPICE_TOOL_TOOL_H
#include <stdbool.h>

/* Each program says its own. */
extern const char tool_name[];

/* "NAME: " and the formatted line on standard error; returns `status`. */
int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A file of ours: the first of two places beside this program (in a build, in an installation) that is there. `path`: PATH_MAX. */
bool find_beside(const char *const places[2], char *path);
#endif
