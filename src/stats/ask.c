/* ask.c: requests to other processes; see ask.h. */
#include "stats/ask.h"
#include "base/version.h"
#include "stats/alive.h"
#include "stats/control.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AT(field) offsetof(struct counters, control.field)
enum { LOOK_EVERY_NS = 500000, ALIVE_EVERY = 64 };

static bool write_at(const struct ask *a, const void *from, size_t length, size_t offset) {
    return pwrite(a->fd, from, length, (off_t)offset) == (ssize_t)length;
}

bool ask_read(const struct ask *a, void *into, uint64_t length, uint64_t offset) {
    return pread(a->fd, into, length, (off_t)offset) == (ssize_t)length;
}

static bool read_word(const struct ask *a, uint64_t *word, size_t offset) { return ask_read(a, word, sizeof *word, offset); }

/* The words that say whose file it is. */
static const char *check(struct ask *a) {
    struct { uint64_t magic, size, version, pid, start_ticks, pid_namespace, start_ns, end_ns; } head;
    _Static_assert(sizeof head == offsetof(struct counters, inherited_bytes), "the head of a counters file");
    uint32_t listens = 0;
    struct stat s;
    bool whole = fstat(a->fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size >= (off_t)sizeof(struct counters);
    if (!whole) return "is not a counters file";
    if (s.st_uid != geteuid() && geteuid() != 0) return "belongs to another user";
    if (!ask_read(a, &head, sizeof head, 0) || head.magic != COUNTERS_MAGIC) return "is not a counters file";
    if (head.version != COPPICE_VERSION_NUMBER || head.size != sizeof(struct counters))
        return "is of another version of Coppice; use that version's program";
    bool here = head.pid_namespace == process_namespace();
    if (head.end_ns || (here && !process_is_alive(head.pid, head.start_ticks))) return "does not run any more";
    a->pid = here ? head.pid : 0, a->start_ticks = head.start_ticks;
    a->listens = ask_read(a, &listens, sizeof listens, AT(listens)) && listens;
    return NULL;
}

const char *ask_open(struct ask *a, int folder, const char *name) {
    a->fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (a->fd < 0) return errno == EACCES ? "belongs to another user" : "has no counters file that could be opened";
    const char *wrong = check(a);
    if (wrong) ask_close(a);
    return wrong;
}

static void nap(uint64_t ns) { nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL); }

/* The other's service thread sleeps on the bell. Waking needs an address in the file, not its contents. */
static void ring(const struct ask *a) {
    const long page = sysconf(_SC_PAGESIZE);
    const size_t in_page = AT(bell) % (size_t)page;
    uint32_t bell = (uint32_t)(control_clock_ns() ^ a->number << 20);
    write_at(a, &bell, sizeof bell, AT(bell));
    char *at = mmap(NULL, (size_t)page, PROT_READ, MAP_SHARED, a->fd, (off_t)(AT(bell) - in_page));
    if (at == MAP_FAILED) return;
    syscall(SYS_futex, at + in_page, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    munmap(at, (size_t)page);
}

enum ask_sent ask_try(struct ask *a, struct control_request *request, uint64_t deadline_ns) {
    uint64_t number;
    a->deadline_ns = request->deadline_ns = deadline_ns;
    if (flock(a->fd, LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? ASK_BUSY : ASK_FAILED;
    if (!read_word(a, &number, AT(number))) return ASK_FAILED;
    a->number = number + 1;
    bool written = write_at(a, request, sizeof *request, AT(request)) && write_at(a, &a->number, sizeof a->number, AT(number));
    if (!written) return ASK_FAILED;
    ring(a);
    return ASK_SENT;
}

enum ask_sent ask_send(struct ask *a, struct control_request *request, uint64_t deadline_ns) {
    enum ask_sent sent;
    while ((sent = ask_try(a, request, deadline_ns)) == ASK_BUSY && control_clock_ns() < deadline_ns) nap(LOOK_EVERY_NS);
    return sent;
}

bool ask_answered(struct ask *a, struct control_answer *answer) {
    uint64_t answered;
    if (!read_word(a, &answered, AT(answered)) || answered != a->number) return false;
    if (!ask_read(a, answer, sizeof *answer, AT(answer))) return false;
    answer->why[CONTROL_TEXT - 1] = 0;
    return true;
}

const char *ask_wait(struct ask *a, struct control_answer *answer) {
    for (unsigned looks = 0; !ask_answered(a, answer); looks++) {
        if (control_clock_ns() >= a->deadline_ns) return "does not answer";
        if (looks % ALIVE_EVERY == 0 && a->pid && !process_is_alive(a->pid, a->start_ticks)) return "has ended meanwhile";
        nap(LOOK_EVERY_NS);
    }
    return answer->verdict ? NULL : "does not answer"; /* no verdict: it came too late for the process */
}

void ask_close(struct ask *a) {
    if (a->fd < 0) return;
    flock(a->fd, LOCK_UN); /* a child forked meanwhile has the same open file */
    close(a->fd);
    a->fd = -1;
}
