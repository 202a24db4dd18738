/* snapshot.c: a PyTorch memory snapshot becomes a trace by python3 and coppice_trace.py, which reads the pickle as plain
 * data and runs none of it; see replay.h. */
#include "replay/replay.h"
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Beside an installation, or in the source tree of a build. */
static bool find_tool(char *path) {
    static const char *const names[] = { "../share/coppice/coppice_trace.py", "../python/coppice_trace.py" };
    char folder[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n <= 0) return false;
    folder[n] = 0;
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(candidate, sizeof candidate, "%s/%s", folder, names[i]);
        if (realpath(candidate, path) && access(path, R_OK) == 0) return true;
    }
    return false;
}

int snapshot_convert(const char *snapshot, const char *out) {
    char tool[PATH_MAX];
    if (!find_tool(tool)) return complain(1, "coppice_trace.py is neither in ../share/coppice nor in ../python");
    char *words[] = { "python3", "-I", "-B", tool, "snapshot", "--", (char *)snapshot, (char *)out, NULL };
    pid_t child;
    int status, error = posix_spawnp(&child, "python3", NULL, NULL, words, environ);
    if (error) return complain(1, "python3 is needed to read a snapshot: %s", strerror(error));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return complain(1, "%s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
