/* reach.c: see reach.h. All calls of userfaultfd are raw: ours are not the program's (preload/libc_memory.c watches its ioctl). */
#include "heap/reach.h"
#include "base/lock.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Newer than the headers that we build with. */
#define FEATURE_MOVE (1u << 16)
struct move {
    uint64_t to, from, length, mode;
    int64_t moved;
};
enum { MOVE_DONTWAKE = 1, MOVE_ALLOW_HOLES = 2 };
#define IOCTL_MOVE _IOWR(UFFDIO, 0x05, struct move)
#define IOCTL_NEW _IO(UFFDIO, 0x00)

static struct lock reaching = LOCK_INIT(RANK_REACH);
static struct sys_file watcher = { .fd = -1 }; /* the userfaultfd */
static bool refused;
enum { SHADOW = 3 * REACH_CHUNK };
static char *shadow;          /* where pages go */

static int call(unsigned long request, void *argument) {
    int saved = errno, result = (int)syscall(SYS_ioctl, watcher.fd, request, argument), error = errno;
    errno = saved;
    return result < 0 ? -error : 0;
}

static int register_range(uintptr_t at, size_t length) {
    struct uffdio_register r = { .range = { at, length }, .mode = UFFDIO_REGISTER_MODE_MISSING };
    return call(UFFDIO_REGISTER, &r);
}

/* Also wakes those who wait there. The kernel wakes before it lets the mapping go, and who faults in between, by the mapping's own lock, on
 * a page that was dropped begins to wait after that: so they are woken once more when nobody can begin. */
static void unregister_range(uintptr_t at, size_t length) {
    struct uffdio_range r = { at, length };
    call(UFFDIO_UNREGISTER, &r);
    call(UFFDIO_WAKE, &r);
}

/* Pages move only between two registered places. The shadow is one no longer than pages are out: whoever touches it at another time (a
 * collector that scans all writable mappings, a debugger, mlockall by a raw call) would wait for ever there. */
static bool register_both(uintptr_t at, size_t length) {
    if (register_range(at, length) != 0) return false;
    if (register_range((uintptr_t)shadow, SHADOW) == 0) return true;
    unregister_range(at, length);
    return false;
}

/* --- start */

static int new_watcher(void) {
    int saved = errno, fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (fd < 0) {
        int device = sys_open("/dev/userfaultfd", O_RDWR, 0);
        if (device >= 0) {
            fd = (int)syscall(SYS_ioctl, device, IOCTL_NEW, O_CLOEXEC);
            close(device);
        }
    }
    errno = saved;
    return fd;
}

static void forget(void) {
    sys_file_close(&watcher);
    if (shadow) sys_unmap(shadow, SHADOW);
    shadow = NULL;
}

static void refuse(void) { forget(), refused = true; }

static bool begin(void) {
    if (refused || sys_file_is_open(&watcher)) return !refused;
    forget(); /* the program has closed it */
    watcher = sys_file_of(sysconf(_SC_PAGESIZE) == REACH_PAGE ? new_watcher() : -1);
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_MOVE };
    if (watcher.fd >= 0 && call(UFFDIO_API, &api) == 0 && (shadow = sys_map(NULL, SHADOW, PROT_READ | PROT_WRITE))) return true;
    refuse();
    return false;
}

bool reach_possible(void) {
    lock_take(&reaching);
    bool possible = begin();
    lock_release(&reaching);
    return possible;
}

/* --- moving */

/* Moves as much as it can of `length` in one call: bytes moved, or a negative errno when the first page cannot be. */
static int64_t move(uintptr_t to, uintptr_t from, size_t length, uint64_t mode) {
    struct move m = { to, from, length, mode, 0 };
    for (int attempt = 0; attempt < 1000; attempt++) {
        int error = call(IOCTL_MOVE, &m);
        if (error == 0) return (int64_t)length;
        if (m.moved > 0) return m.moved;
        if (error != -EAGAIN) return error;
        m.moved = 0;
        sched_yield(); /* mappings are changing */
    }
    return -EAGAIN;
}

/* Which pages are there to be looked at? How many. */
static unsigned mark_present(struct reach *r) {
    unsigned char present[REACH_PAGES];
    unsigned out = 0;
    if (mincore((void *)r->look, (size_t)r->pages * REACH_PAGE, present) != 0) memset(present, 0, sizeof present);
    for (unsigned i = 0; i < r->pages; i++) {
        if (!(present[i] & 1)) r->state[i] = REACH_LEFT;
        out += r->state[i] == REACH_OUT;
    }
    return out;
}

/* What does not move stays in its place, in reach. */
static void move_out(struct reach *r) {
    for (unsigned i = 0; i < r->pages;) {
        size_t from = (size_t)i * REACH_PAGE;
        int64_t moved = move((uintptr_t)r->look + from, r->at + from, (size_t)(r->pages - i) * REACH_PAGE, MOVE_DONTWAKE | MOVE_ALLOW_HOLES);
        if (moved == -EINVAL || moved == -EBADF || moved == -ENOTTY) return;
        if (moved < REACH_PAGE) i++;
        for (; moved >= REACH_PAGE; moved -= REACH_PAGE) r->state[i++] = REACH_OUT;
    }
}

/* In the shadow, as far from a huge page's start as `at` is, so that whole huge pages move as one. */
static const char *place_for(uintptr_t at, size_t length) {
    uintptr_t from = (uintptr_t)shadow, place = ((from + REACH_CHUNK - 1) & -(uintptr_t)REACH_CHUNK) + at % REACH_CHUNK;
    while (place + length > from + SHADOW) place -= REACH_CHUNK;
    return (const char *)place;
}

bool reach_out(struct reach *r, void *at, unsigned pages) {
    lock_take(&reaching);
    size_t length = (size_t)pages * REACH_PAGE;
    *r = (struct reach){ .at = (uintptr_t)at, .pages = pages };
    if (begin() && register_both(r->at, length)) {
        r->look = place_for(r->at, length);
        move_out(r);
        if (mark_present(r) > 0) return true;
        reach_back(r);
        return false;
    }
    lock_release(&reaching);
    return false;
}

/* --- deciding */

void reach_drop(struct reach *r, unsigned i) { r->state[i] = REACH_SETTLED; }

bool reach_replace(struct reach *r, unsigned i, unsigned count, int fd, off_t offset) {
    void *at = (void *)(r->at + (size_t)i * REACH_PAGE);
    struct uffdio_range range = { (uintptr_t)at, (size_t)count * REACH_PAGE };
    int saved = errno;
    void *mapped = mmap(at, range.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, offset);
    errno = saved;
    if (mapped == MAP_FAILED) return false;
    call(UFFDIO_WAKE, &range);
    memset(r->state + i, REACH_SETTLED, count);
    return true;
}

/* A page that would not move: a copy of it instead, from where it lies. */
static bool copy_back(const struct reach *r, unsigned i) {
    struct uffdio_copy c = { .dst = r->at + (size_t)i * REACH_PAGE, .src = (uintptr_t)r->look + (size_t)i * REACH_PAGE, .len = REACH_PAGE };
    int error = call(UFFDIO_COPY, &c);
    return error == 0 || error == -EEXIST || error == -ENOENT; /* it is there, or the mapping is gone */
}

/* Who closed the watcher let everybody go on, on pages of zeros. Where nobody has gone yet the page comes back as a copy. */
static void copy_without_watcher(const struct reach *r, unsigned i, unsigned end) {
    for (unsigned char there; i < end; i++) {
        void *at = (void *)(r->at + (size_t)i * REACH_PAGE);
        if (r->state[i] == REACH_OUT && mincore(at, REACH_PAGE, &there) == 0 && !(there & 1)) memcpy(at, r->look + (size_t)i * REACH_PAGE, REACH_PAGE);
    }
}

/* Pages [i, end). Nothing may be lost: where the kernel has no memory for a moment, that is waited for. */
static void move_back(const struct reach *r, unsigned i, unsigned end) {
    while (i < end) {
        size_t from = (size_t)i * REACH_PAGE;
        int64_t moved = move(r->at + from, (uintptr_t)r->look + from, (size_t)(end - i) * REACH_PAGE, MOVE_ALLOW_HOLES);
        if (moved >= REACH_PAGE) i += (unsigned)(moved / REACH_PAGE);
        else if (moved == -EEXIST || r->state[i] != REACH_OUT || copy_back(r, i)) i++; /* it never left, or is back */
        else if (!sys_file_is_open(&watcher)) {
            copy_without_watcher(r, i, end);
            return;
        } else nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

/* The end of the run of pages from i on that are to go back; those that were absent or swapped out there go along. */
static unsigned run_end(const struct reach *r, unsigned i) {
    while (i < r->pages && r->state[i] != REACH_SETTLED) i++;
    return i;
}

void reach_back(struct reach *r) {
    for (unsigned i = 0, end; i < r->pages; i = end + 1) {
        end = run_end(r, i);
        move_back(r, i, end);
    }
    unregister_range(r->at, (size_t)r->pages * REACH_PAGE);
    unregister_range((uintptr_t)shadow, SHADOW);
    /* What was dropped or replaced. It may not lie there when pages come next: the shadow was locked meanwhile, so it was the last time. */
    if (sys_advise((void *)r->look, (size_t)r->pages * REACH_PAGE, MADV_DONTNEED) != 0) refuse();
    lock_release(&reaching);
}

/* --- others */

void reach_stop(void) {
    lock_take(&reaching);
    refuse();
    lock_release(&reaching);
}

void reach_wait(void) { lock_take(&reaching); }
void reach_go_on(void) { lock_release(&reaching); }
void reach_fork_prepare(void) { lock_take(&reaching); }
void reach_fork_parent(void) { lock_release(&reaching); }

/* The watcher is the parent's and would reach into the parent's memory. */
void reach_fork_child(void) {
    lock_release(&reaching);
    forget();
    refused = false;
}
