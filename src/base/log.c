/* log.c: one line on standard error, see log.h. */
#include "base/log.h"
#include "base/hints.h"
#include "base/sys.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct stat stderr_at_start;
static bool remembered, have_stderr, silent;

void log_silence(void) { silent = true; }

void log_remember_stderr(void) {
    int saved = errno;
    have_stderr = fstat(2, &stderr_at_start) == 0;
    remembered = true;
    errno = saved;
}

bool log_stderr_is_ours(void) {
    if (!remembered) return true;
    struct stat now;
    int saved = errno;
    bool same = have_stderr && fstat(2, &now) == 0 && now.st_dev == stderr_at_start.st_dev && now.st_ino == stderr_at_start.st_ino;
    errno = saved;
    return same;
}

/* A part of the line, which may be somebody else's text: kept on the line, and short enough to leave room for the rest. */
static void add_part(struct text *line, const char *part) {
    enum { MOST = 300 };
    for (int n = 0; *part; part++, n++) {
        if (n == MOST) {
            text_add(line, "...");
            return;
        }
        text_char(line, (unsigned char)*part < 0x20 || *part == 0x7f ? '?' : *part);
    }
}

void log_line(const char *first, ...) {
    if (silent || !log_stderr_is_ours()) return;
    char buffer[1024];
    struct text line = text_in(buffer, sizeof buffer - 1);
    text_add(&line, "coppice: ");
    va_list rest;
    va_start(rest, first);
    for (const char *part = first; part; part = va_arg(rest, const char *)) add_part(&line, part);
    va_end(rest);
    buffer[line.length] = '\n';
    (void)sys_write_patiently(2, buffer, line.length + 1, 1000000000);
}

#ifdef COPPICE_DEBUG
void invariant_broken(const char *what, const char *file, int line) {
    char number[24];
    struct text n = text_in(number, sizeof number);
    text_u64(&n, (uint64_t)line);
    silent = false;
    log_line("invariant broken: ", what, " at ", file, ":", number, NULL);
    abort();
}
#endif
