/* trace_file.c: the file of a trace and its blocks; see trace.h.
 *
 * The name: %p is the process id; a relative one lies in the folder in which the process began. A trace of a process that
 * still runs (our parent, or ourselves before an exec) is never touched: the next free name FILE.1, FILE.2 … is
 * taken. A trace of a process that has ended is replaced; a file that is no trace is left alone and said.
 * No descriptor stays open between blocks, because programs close, count and inherit descriptors: the file is opened by
 * its name for each block, and must still be the same file. A block is given room on disk before it is written to, so
 * that a full disk ends the trace and not the process. */
#include "device/trace.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "stats/counters.h"
#include "stats/target.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_CAPACITY = 4096, NAMES = 1000 };
static char path[PATH_CAPACITY];
static struct trace_head *head;
static uint64_t blocks, limit; /* taken, and how many the file may have */
static dev_t device;
static ino_t inode;
static uint64_t base_ns;

uint64_t trace_file_base_ns(void) { return base_ns; }
void trace_file_dropped(void) {
    if (head) atomic_fetch_add_explicit(&head->dropped, 1, memory_order_relaxed);
}

static void give_up(const char *what, int error) {
    const char *why = error ? strerrordesc_np(-error) : NULL;
    log_line("the trace ", path, why ? ": " : " ", why ? why : "", why ? "; " : "", what, NULL);
}

/* Is the process that wrote this still there? Of another container's process we cannot know, so it is. */
static bool writer_lives(const struct trace_head *h) {
    if (h->pid_namespace != counter_get(&counters->pid_namespace)) return true;
    return h->pid <= INT32_MAX && sys_start_ticks((pid_t)h->pid) == h->start_ticks && h->start_ticks != 0;
}

/* Takes a file out of the way if it is the trace of an ended process, or empty. 0: gone, 1: the next name, else an error. */
static int make_way(const char *name) {
    struct trace_head h = { 0 };
    struct stat found, named;
    int fd = sys_open_as_asked(name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
    if (fd < 0) return fd == -ENOENT ? 0 : fd;
    int answer = -EEXIST;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        ssize_t n = pread(fd, &h, sizeof h, 0);
        bool trace = n == (ssize_t)sizeof h && memcmp(h.magic, TRACE_MAGIC, sizeof h.magic) == 0;
        if (trace && writer_lives(&h)) answer = 1;
        else if ((trace || n == 0) && stat(name, &named) == 0) /* unless another has just put its own there */
            answer = named.st_ino != found.st_ino ? 1 : unlink(name) == 0 ? 0 : -errno;
    }
    close(fd);
    return answer;
}

/* A new file by the first name that is free; a descriptor or a negative errno. */
static int create(void) {
    size_t length = strlen(path);
    for (unsigned i = 0; i < NAMES; i++) {
        struct text t = { .bytes = path, .length = length, .capacity = sizeof path };
        path[length] = 0;
        if (i > 0) text_char(&t, '.'), text_u64(&t, i);
        if (t.full) return -ENAMETOOLONG;
        int fd = sys_open_as_asked(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (fd != -EEXIST) return fd;
        int way = make_way(path);
        if (way < 0) return way;
        if (way == 0) i--; /* this name again */
    }
    return -EEXIST;
}

/* Gives block `number` room and maps it. */
static void *map_block(int fd, uint64_t number) {
    off_t at = (off_t)(number * TRACE_BLOCK);
    int error = sys_may_grow((uint64_t)at + TRACE_BLOCK);
    if (!error) error = sys_allocate(fd, at, TRACE_BLOCK);
    void *block = error ? NULL : sys_map_file_at(fd, (uint64_t)at, TRACE_BLOCK);
    if (!error && !block) error = -ENOMEM;
    if (block && (error = sys_populate(block, TRACE_BLOCK)) != 0 && error != -EINVAL) {
        sys_unmap(block, TRACE_BLOCK);
        block = NULL;
    }
    if (!block) give_up("ends here: no room", error);
    return block;
}

static bool write_head(int fd) {
    struct stat s;
    struct timespec t;
    if (fstat(fd, &s) != 0 || !(head = map_block(fd, 0))) return false;
    device = s.st_dev, inode = s.st_ino, blocks = 1;
    clock_gettime(CLOCK_REALTIME, &t);
    base_ns = clock_ns();
    *head = (struct trace_head){ .version = TRACE_VERSION, .block_bytes = TRACE_BLOCK, .monotonic_ns = base_ns };
    head->realtime_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    head->pid = (uint64_t)getpid(), head->start_ticks = counter_get(&counters->start_ticks);
    head->pid_namespace = counter_get(&counters->pid_namespace);
    memcpy(head->command, counters->command, sizeof head->command);
    atomic_thread_fence(memory_order_release);
    memcpy(head->magic, TRACE_MAGIC, sizeof head->magic); /* last: now it is a trace */
    return true;
}

static bool open_file(const char *pattern) {
    struct text t = text_in(path, sizeof path);
    target_expand(pattern, &t);
    int fd = t.full ? -ENAMETOOLONG : create();
    if (fd < 0) give_up(fd == -EEXIST ? "it is no trace, and it is not replaced; nothing is traced" : "nothing is traced", fd);
    bool open = fd >= 0 && write_head(fd);
    if (fd >= 0) close(fd);
    limit = option_number(trace_limit) / TRACE_BLOCK;
    return open;
}

bool trace_file_open(void) {
    const char *pattern = option_text(trace);
    int saved = errno, cancel;
    if (!pattern || !*pattern) return false;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    bool open = open_file(pattern);
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
    return open;
}

static struct trace_block *open_block(void) {
    struct stat s;
    int fd = sys_open_as_asked(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    struct trace_block *block = NULL;
    if (fd < 0 || fstat(fd, &s) != 0 || s.st_dev != device || s.st_ino != inode) give_up("ends here: the file was taken away", 0);
    else block = map_block(fd, blocks);
    if (fd >= 0) close(fd);
    return block;
}

struct trace_block *trace_file_block(struct trace_block *before) {
    int saved = errno, cancel;
    if (before) sys_unmap(before, TRACE_BLOCK);
    if (limit == 0) return NULL; /* it has ended */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    struct trace_block *block = NULL;
    if (blocks < limit) block = open_block();
    else give_up("ends here: COPPICE_TRACE_LIMIT is reached", 0);
    if (block) blocks++;
    else limit = 0; /* said once */
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
    return block;
}
