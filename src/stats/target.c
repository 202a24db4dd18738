/* target.c: a dump is replaced whole or written with patience, and the program never pays for it: no SIGPIPE, no SIGXFSZ,
 * no cancellation, no blocking, no descriptor left behind; see target.h.
 *
 * STATS_FILE may name anything. A regular file (or nothing yet) gets a new file beside it and a rename, so a reader sees
 * one dump or the next. A device, a pipe or a socket is never replaced, it is written to. A symbolic link is replaced
 * itself and never followed, except below /dev and /proc, where links such as /dev/stdout are the system's own. */
#include "stats/target.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_NS = 1000000000, PATH_CAPACITY = 4096 };

static char folder_at_start[PATH_CAPACITY];

void target_settle(void) {
    const char *file = option_text(stats_file), *trace = option_text(trace);
    int saved = errno;
    bool relative = (*file && *file != '/') || (*trace && *trace != '/');
    if (relative && !getcwd(folder_at_start, sizeof folder_at_start)) folder_at_start[0] = 0;
    errno = saved;
}

/* Anything but %p and %% stays as it is. */
void target_expand(const char *pattern, struct text *path) {
    if (*pattern != '/' && folder_at_start[0]) text_add(path, folder_at_start), text_char(path, '/');
    for (; *pattern; pattern++) {
        if (*pattern == '%' && pattern[1] == 'p') text_u64(path, (uint64_t)getpid()), pattern++;
        else if (*pattern == '%' && pattern[1] == '%') text_char(path, '%'), pattern++;
        else text_char(path, *pattern);
    }
}

static int replace(const char *path, const struct text *dump) {
    char beside[PATH_CAPACITY + 32];
    struct text t = text_in(beside, sizeof beside);
    text_add(&t, path), text_char(&t, '.'), text_u64(&t, (uint64_t)getpid()), text_add(&t, ".part");
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    int error = sys_may_grow(dump->length);
    if (error) return error;
    int fd = sys_open_as_asked(beside, flags, 0644);
    if (fd == -EEXIST && unlink(beside) == 0) fd = sys_open_as_asked(beside, flags, 0644); /* of a process killed while it wrote */
    if (fd < 0) return fd;
    error = sys_write_all(fd, dump->bytes, dump->length);
    if (close(fd) != 0 && !error) error = -errno;
    if (!error && rename(beside, path) != 0) error = -errno;
    if (error) unlink(beside);
    return error;
}

static int append(const char *path, const struct text *dump) {
    int fd = sys_open_as_asked(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) return fd;
    struct stat s;
    bool regular = fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
    int error = regular ? sys_may_grow((uint64_t)s.st_size + dump->length) : 0;
    if (!error) error = sys_write_patiently(fd, dump->bytes, dump->length, PATIENCE_NS);
    close(fd);
    return error;
}

static int write_file(const char *path, const struct text *dump) {
    struct stat s;
    if (lstat(path, &s) != 0) return errno == ENOENT ? replace(path, dump) : -errno;
    bool systems_own = strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
    if (S_ISREG(s.st_mode) || (S_ISLNK(s.st_mode) && !systems_own)) return replace(path, dump);
    return S_ISDIR(s.st_mode) ? -EISDIR : append(path, dump);
}

static void complain(const char *path, int error) {
    static atomic_bool said;
    if (atomic_exchange(&said, true)) return;
    const char *why = strerrordesc_np(-error);
    log_line("statistics cannot be written to ", path, ": ", why ? why : "unknown error", NULL);
}

void target_write(const struct text *dump) {
    int saved = errno, cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    const char *pattern = option_text(stats_file);
    if (pattern && *pattern) {
        static char path[PATH_CAPACITY];
        struct text t = text_in(path, sizeof path);
        target_expand(pattern, &t);
        int error = t.full ? -ENAMETOOLONG : write_file(path, dump);
        if (error) complain(path, error);
    } else if (log_stderr_is_ours()) {
        struct stat s;
        bool regular = fstat(2, &s) == 0 && S_ISREG(s.st_mode);
        if (!regular || sys_may_grow((uint64_t)s.st_size + dump->length) == 0)
            (void)sys_write_patiently(2, dump->bytes, dump->length, PATIENCE_NS);
    }
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
}
