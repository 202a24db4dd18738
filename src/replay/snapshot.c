/* snapshot.c: a PyTorch memory snapshot becomes a trace by python3 and coppice_trace.py, which reads the pickle as plain
 * data and runs none of it; see replay.h. */
#include "replay/replay.h"
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

int snapshot_convert(const char *snapshot, const char *out) {
    char tool[PATH_MAX];
    if (!find_beside((const char *const[]){ "../share/coppice/coppice_trace.py", "../python/coppice_trace.py" }, tool)) return complain(1, "coppice_trace.py is neither in ../share/coppice nor in ../python");
    char *words[] = { "python3", "-I", "-B", tool, "snapshot", "--", (char *)snapshot, (char *)out, NULL };
    pid_t child;
    int status, error = posix_spawnp(&child, "python3", NULL, NULL, words, environ);
    if (error) return complain(1, "python3 is needed to read a snapshot: %s", strerror(error));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return complain(1, "%s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
