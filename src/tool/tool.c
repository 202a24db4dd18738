/* tool.c: see tool.h. */
#include "tool/tool.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int complain(int status, const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    fprintf(stderr, "%s: ", tool_name);
    vfprintf(stderr, format, rest);
    fputc('\n', stderr);
    va_end(rest);
    return status;
}

bool find_beside(const char *const places[2], char *path) {
    char folder[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n <= 0) return false;
    folder[n] = 0;
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    for (unsigned i = 0; i < 2; i++) {
        snprintf(candidate, sizeof candidate, "%s/%s", folder, places[i]);
        if (realpath(candidate, path) && access(path, R_OK) == 0) return true;
    }
    return false;
}
