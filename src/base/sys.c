/* sys.c: system calls with errors as values. libc's wrappers are used, never raw calls, because registration caches
 * watch libc's madvise and munmap; errno is put back afterwards. */
#include "base/sys.h"
#include "base/clock.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPING_ERRNO(expression) \
    ({ int saved_ = errno; __typeof__(expression) value_ = (expression); int error_ = errno; errno = saved_; (void)error_; value_ == (__typeof__(value_))-1 ? (__typeof__(value_))(intptr_t)-error_ : value_; })

void *sys_map(void *hint, size_t length, int protection) {
    int saved = errno;
    void *at = mmap(hint, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    errno = saved;
    return at == MAP_FAILED ? NULL : at;
}

void *sys_map_file(int fd, size_t length) { return sys_map_file_at(fd, 0, length); }

void *sys_map_file_at(int fd, uint64_t offset, size_t length) {
    int saved = errno;
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    errno = saved;
    return at == MAP_FAILED ? NULL : at;
}

int sys_unmap(void *address, size_t length) { return KEEPING_ERRNO(munmap(address, length)); }
int sys_protect(void *address, size_t length, int protection) { return KEEPING_ERRNO(mprotect(address, length, protection)); }
int sys_advise(void *address, size_t length, int advice) { return KEEPING_ERRNO(madvise(address, length, advice)); }
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
int sys_populate(void *address, size_t length) { return KEEPING_ERRNO(madvise(address, length, MADV_POPULATE_WRITE)); }

static _Atomic bool shut_in;
void sys_shut_in(void) { atomic_store(&shut_in, true); }
bool sys_is_shut_in(void) { return atomic_load_explicit(&shut_in, memory_order_relaxed); }

int sys_open_as_asked(const char *path, int flags, int mode) { return KEEPING_ERRNO(open(path, flags | O_CLOEXEC, mode)); }
int sys_open(const char *path, int flags, int mode) { return sys_is_shut_in() ? -EPERM : sys_open_as_asked(path, flags, mode); }

struct sys_file sys_file_of(int fd) {
    enum { ABOVE = 512 };
    struct sys_file f = { .fd = fd };
    struct stat s;
    if (fd < 0) return f;
    int high = fd < ABOVE ? (int)KEEPING_ERRNO(fcntl(fd, F_DUPFD_CLOEXEC, ABOVE)) : -1;
    if (high >= 0) (void)KEEPING_ERRNO(close(fd)), f.fd = high;
    if (KEEPING_ERRNO(fstat(f.fd, &s)) == 0) f.device = s.st_dev, f.inode = s.st_ino;
    return f;
}

bool sys_file_is_open(const struct sys_file *f) {
    struct stat s;
    return f->fd >= 0 && KEEPING_ERRNO(fstat(f->fd, &s)) == 0 && s.st_dev == f->device && s.st_ino == f->inode;
}

void sys_file_close(struct sys_file *f) {
    if (sys_file_is_open(f)) (void)KEEPING_ERRNO(close(f->fd));
    f->fd = -1;
}

int sys_write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t done = KEEPING_ERRNO(write(fd, bytes, length));
        if (done == -EINTR) continue;
        if (done < 0) return (int)done;
        bytes += done, length -= (size_t)done;
    }
    return 0;
}

/* One write of at most PIPE_BUF bytes: poll promised room for that much, so it does not block. */
static ssize_t write_when_ready(int fd, const char *bytes, size_t length, int wait_ms) {
    struct pollfd ready = { .fd = fd, .events = POLLOUT };
    int n = KEEPING_ERRNO(poll(&ready, 1, wait_ms));
    if (n <= 0) return n == 0 ? -ETIMEDOUT : n;
    if (ready.revents & POLLNVAL) return -EBADF;
    if (!(ready.revents & POLLOUT) && (ready.revents & (POLLERR | POLLHUP))) return -EPIPE;
    return KEEPING_ERRNO(write(fd, bytes, length < PIPE_BUF ? length : PIPE_BUF));
}

int sys_write_patiently(int fd, const char *bytes, size_t length, uint64_t patience_ns) {
    /* A SIGPIPE that we cause is taken back; one that was pending before stays. */
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only), sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    sigpending(&pending);
    uint64_t end = clock_ns() + patience_ns;
    ssize_t done = 0;
    while (length > 0) {
        uint64_t now = clock_ns();
        done = now >= end ? -ETIMEDOUT : write_when_ready(fd, bytes, length, (int)((end - now) / 1000000) + 1);
        if (done == -EINTR || done == -EAGAIN) continue;
        if (done < 0) break;
        bytes += done, length -= (size_t)done;
    }
    if (done == -EPIPE && !sigismember(&pending, SIGPIPE))
        (void)KEEPING_ERRNO(sigtimedwait(&pipe_only, NULL, &(struct timespec){ 0, 0 }));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return done < 0 ? (int)done : 0;
}

int sys_may_grow(uint64_t length) {
    struct rlimit limit;
    int error = KEEPING_ERRNO(getrlimit(RLIMIT_FSIZE, &limit));
    return error < 0 ? error : limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < length ? -EFBIG : 0;
}

int sys_allocate(int fd, off_t offset, off_t length) {
    int error;
    while ((error = KEEPING_ERRNO(fallocate(fd, 0, offset, length))) == -EINTR) {}
    return error == -EOPNOTSUPP || error == -ENOSYS ? KEEPING_ERRNO(ftruncate(fd, offset + length)) : error;
}

int sys_random(void *buffer, size_t length) {
    ssize_t got = KEEPING_ERRNO(getrandom(buffer, length, GRND_NONBLOCK)); /* up to 256 bytes come whole */
    return got < 0 ? (int)got : (size_t)got == length ? 0 : -EIO;
}

uint64_t sys_start_ticks(pid_t pid) {
    char stat[1024], path[40];
    struct text t = text_in(path, sizeof path);
    text_add(&t, "/proc/");
    if (pid) text_u64(&t, (uint64_t)pid);
    else text_add(&t, "self");
    text_add(&t, "/stat");
    if (sys_read_file(path, stat, sizeof stat) <= 0) return 0;
    const char *at = strrchr(stat, ')'); /* the name in field 2 may hold anything: count from its closing bracket */
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    uint64_t ticks = 0;
    if (at)
        for (at++; *at >= '0' && *at <= '9'; at++) ticks = ticks * 10 + (uint64_t)(*at - '0');
    return ticks;
}

ssize_t sys_read_file(const char *path, char *buffer, size_t capacity) {
    int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0) return fd;
    size_t have = 0;
    ssize_t got = 0;
    while (have + 1 < capacity && (got = KEEPING_ERRNO(read(fd, buffer + have, capacity - 1 - have))) != 0) {
        if (got == -EINTR) continue;
        if (got < 0) break;
        have += (size_t)got;
    }
    (void)KEEPING_ERRNO(close(fd));
    buffer[have] = 0;
    return got < 0 ? got : (ssize_t)have;
}
