/* records.c: finding and checking counters files; see records.h. */
#include "cli/records.h"
#include "base/version.h"
#include "stats/alive.h"
#include "stats/folder.h"
#include "stats/leftovers.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- one file */

static const char *read_all(int fd, struct counters *c) {
    size_t have = 0;
    while (have < sizeof *c) {
        ssize_t n = read(fd, (char *)c + have, sizeof *c - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return "cannot be read";
        if (n == 0) break;
        have += (size_t)n;
    }
    if (have < 3 * sizeof(uint64_t) || c->magic != COUNTERS_MAGIC) return "is not a counters file";
    if (c->version != COPPICE_VERSION_NUMBER) return "was written by another version of Coppice; use that version's program";
    if (c->size != sizeof *c) return "has another layout: it was written by another build of Coppice";
    return have < sizeof *c ? "is truncated" : NULL;
}

/* The file may say anything: every text must end. (Readers of counters check indices themselves.) */
static void make_safe(struct counters *c) {
    c->command[sizeof c->command - 1] = 0;
    for (int i = 0; i < COUNTER_DEVICES; i++) c->device[i].name[sizeof c->device[i].name - 1] = 0;
    for (int i = 0; i < COUNTER_CALLS; i++) c->call[i].name[COUNTER_CALL_NAME - 1] = 0;
    for (int i = 0; i < COUNTER_SITES; i++) {
        struct site_counters *n = &c->site[i];
        n->name[sizeof n->name - 1] = n->function[sizeof n->function - 1] = n->rule[sizeof n->rule - 1] = 0;
    }
}

static const char *open_error(int error) {
    switch (error) {
    case ENOENT: return "does not exist";
    case EACCES: return "cannot be read: permission denied";
    case ELOOP: return "is a symbolic link, which a counters file never is";
    default: return "cannot be opened";
    }
}

const char *record_read(const char *path, struct record *record) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return open_error(errno);
    struct stat s;
    const char *wrong = fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) ? "is not a file" : read_all(fd, &record->counters);
    close(fd);
    if (wrong) return wrong;
    struct counters *c = &record->counters;
    make_safe(c);
    record->alive = counter_get(&c->pid_namespace) == process_namespace() && process_is_alive(counter_get(&c->pid), counter_get(&c->start_ticks));
    return NULL;
}

/* --- the folders */

/* Our own folder in each place; for root, those of every user. */
static void each_folder(void (*enter)(unsigned place, uid_t owner, void *with), void *with) {
    char path[FOLDER_PATH];
    for (unsigned place = 0; place < FOLDER_PLACES; place++) {
        DIR *all = geteuid() == 0 && folder_place(place, path) ? opendir(path) : NULL;
        for (struct dirent *entry; all && (entry = readdir(all));) {
            char *end;
            if (strncmp(entry->d_name, "coppice-", 8) != 0 || entry->d_name[8] < '0' || entry->d_name[8] > '9') continue;
            unsigned long owner = strtoul(entry->d_name + 8, &end, 10);
            if (*end == 0 && owner != geteuid()) enter(place, (uid_t)owner, with);
        }
        if (all) closedir(all);
        enter(place, geteuid(), with);
    }
}

struct search { uint64_t pid, ticks; struct timespec made; char *path; };

/* The latest process of this pid; of its files (one a user that it has been) the latest. */
static void consider(const struct folder_file *file, void *with) {
    struct search *best = with;
    struct stat s;
    if (file->pid != best->pid || fstatat(file->folder, file->name, &s, AT_SYMLINK_NOFOLLOW) != 0) return;
    bool later = s.st_mtim.tv_sec != best->made.tv_sec ? s.st_mtim.tv_sec > best->made.tv_sec : s.st_mtim.tv_nsec > best->made.tv_nsec;
    if (best->path[0] && (file->ticks != best->ticks ? file->ticks < best->ticks : !later)) return;
    best->ticks = file->ticks, best->made = s.st_mtim;
    snprintf(best->path, 4096, "%s/%s", file->path, file->name);
}

static void look_in(unsigned place, uid_t owner, void *with) { folder_visit(place, owner, consider, with); }

const char *record_find(int pid, char *path, struct record *record) {
    struct search search = { .pid = (uint64_t)pid, .path = path };
    path[0] = 0;
    each_folder(look_in, &search);
    uint64_t ticks;
    if (path[0]) {
        const char *wrong = record_read(path, record);
        bool predecessor = wrong && process_start(search.pid, &ticks) && ticks != search.ticks;
        if (!predecessor) return wrong; /* else nobody asked about the file that we can't read */
    }
    return process_start(search.pid, &ticks) ? "runs without Coppice, or its counters are not where we look for them"
                                        : "does not run, and left no statistics here";
}

static void clean(unsigned place, uid_t owner, void *with) { (void)with, leftovers_clean(place, owner); }
void records_clean(void) { each_folder(clean, NULL); }
