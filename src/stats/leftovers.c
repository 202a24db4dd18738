/* leftovers.c: see leftovers.h. A folder is gone through twice: how old the files are, in powers of two of seconds, then those that are older
 * than the limit which leaves few enough go. */
#include "stats/leftovers.h"
#include "stats/alive.h"
#include "stats/counters.h"
#include "stats/folder.h"
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 24 * 3600, AGES = 18 /* 2^17 s is more than a day */ };
#define HOUR_NS 3600000000000u

/* The first words of a file, as far as removal needs them. */
struct head { uint64_t start_ns, end_ns, namespace; };

static bool read_head(const struct folder_file *file, struct head *head) {
    char bytes[offsetof(struct counters, command)];
    int fd = openat(file->folder, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool whole = fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes;
    if (fd >= 0) close(fd);
    if (!whole) return false;
    memcpy(&head->start_ns, bytes + offsetof(struct counters, start_ns), sizeof head->start_ns);
    memcpy(&head->end_ns, bytes + offsetof(struct counters, end_ns), sizeof head->end_ns);
    memcpy(&head->namespace, bytes + offsetof(struct counters, pid_namespace), sizeof head->namespace);
    return true;
}

/* The time of day at a moment of CLOCK_BOOTTIME; a moment of an earlier boot gives one in the future. */
static time_t time_of_day(uint64_t boot_ns) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return time(NULL) - now.tv_sec + (time_t)(boot_ns / 1000000000);
}

/* Seconds since the process of a file ended; -1: it has not, or that cannot be seen from here (another pid namespace). A killed process did
 * not say when it ended, and writing through a mapping does not change the file's time: while that is the time of its start, it
 * says nothing. Such a file is dated now. */
static time_t age_of(const struct folder_file *file) {
    struct stat s;
    struct head head = { 0 };
    const time_t now = time(NULL);
    if (process_is_alive(file->pid, file->ticks) || fstatat(file->folder, file->name, &s, AT_SYMLINK_NOFOLLOW) != 0) return -1;
    bool known = read_head(file, &head);
    if (known && head.namespace && head.namespace != process_namespace()) return -1;
    time_t ended = head.end_ns ? time_of_day(head.end_ns) : s.st_mtime;
    if (ended > now) ended = s.st_mtime;
    time_t from_start = s.st_mtime - time_of_day(head.start_ns);
    if (known && !head.end_ns && from_start > -5 && from_start < 5) utimensat(file->folder, file->name, NULL, AT_SYMLINK_NOFOLLOW), ended = now;
    return ended > now ? 0 : now - ended;
}

struct ages { unsigned count[AGES]; };
static void count_age(const struct folder_file *file, void *with) {
    time_t age = age_of(file);
    unsigned power = 0;
    while (age >= (time_t)1 << power && power < AGES - 1) power++; /* younger than 2^power */
    if (age >= 0) ((struct ages *)with)->count[power]++;
}

/* How old a file may be, so that LEFTOVERS_KEPT or fewer stay. What ended in this very second always does. */
static time_t limit_for(const struct ages *all) {
    unsigned power = 0, kept = all->count[0];
    while (power < AGES - 1 && kept + all->count[power + 1] <= LEFTOVERS_KEPT) kept += all->count[++power];
    return power == AGES - 1 || (time_t)1 << power > DAY ? DAY : (time_t)1 << power;
}

static void remove_older(const struct folder_file *file, void *with) {
    if (age_of(file) >= *(const time_t *)with) unlinkat(file->folder, file->name, 0);
}

void leftovers_clean(unsigned place, uid_t owner) {
    struct ages all = { 0 };
    folder_visit(place, owner, count_age, &all);
    time_t limit = limit_for(&all);
    folder_visit(place, owner, remove_older, &limit);
}

void leftovers_chore(uint64_t now_ns) {
    static uint64_t next_ns;
    if (now_ns < next_ns) return;
    next_ns = now_ns + HOUR_NS;
    for (unsigned place = 0; place < FOLDER_PLACES; place++) leftovers_clean(place, geteuid());
}
