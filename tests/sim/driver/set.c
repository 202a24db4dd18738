/* set.c: the shared file of a device set: who is alive, who holds what. The nouns are in set.h. */
#define _GNU_SOURCE
#include "set.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t process_start_time(int pid) {
    char path[48], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    char *p = strrchr(text, ')');        /* the command may contain anything */
    if (!p || p[2] == 'Z' || p[2] == 'X') return 0;
    for (int field = 2; p && field < 22; field++) p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

static const char *set_dir(void) {
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    return dir && *dir ? dir : "/tmp";
}

static void set_path(char *out, size_t size, const char *name) {
    char clean[128];
    size_t n = 0;
    if (!name || !*name) name = getenv("SIM_DEVICE_NAME");
    if (!name || !*name) name = "default";
    for (const char *p = name; *p && n < sizeof clean - 1; p++) clean[n++] = *p == '/' ? '_' : *p;
    clean[n] = 0;
    snprintf(out, size, "%s/simulated-gpu-%u-v%d-%s", set_dir(), (unsigned)getuid(), SET_VERSION, clean);
}

static void set_initialise(struct set *set, uint64_t capacity, int devices) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&set->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    set->version = SET_VERSION;
    set->next_id = 1;
    set->devices = (uint32_t)devices;
    for (int d = 0; d < SET_DEVICES; d++) set->capacity[d] = capacity;
    set->magic = SET_MAGIC;
}

/* A file may have been removed between our opening and locking it: then it is opened anew. */
static int open_locked(const char *path, bool create, struct stat *st) {
    for (;;) {
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
        if (fd < 0) return -1;
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {}
        if (fstat(fd, st) == 0 && st->st_nlink > 0) return fd;
        close(fd);
    }
}

static struct set *map_file(int fd, const struct stat *st, bool create) {
    bool big = st->st_size >= (off_t)sizeof(struct set);
    if (st->st_uid != getuid() || (!big && (!create || ftruncate(fd, sizeof(struct set)) != 0))) return NULL;
    struct set *set = mmap(NULL, sizeof *set, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return set == MAP_FAILED ? NULL : set;
}

static bool nobody_left(struct set *set) {
    bool used = false;
    set_lock(set);
    set_reap(set);
    for (int s = 0; s < (int)set->slots_used; s++) used |= set->slot[s].pid != 0;
    set_unlock(set);
    return !used;
}

static bool remove_unused(const char *path, int fd, const struct stat *st) {
    struct set *set = map_file(fd, st, false);
    bool gone = (!set || set->magic != SET_MAGIC || nobody_left(set)) && unlink(path) == 0;
    if (set) munmap(set, sizeof *set);
    return gone;
}

/* Sets that nobody has used for an hour go when a new one is made. */
static void sweep_old_sets(void) {
    char prefix[64], path[512];
    int budget = 16, length = snprintf(prefix, sizeof prefix, "simulated-gpu-%u-", (unsigned)getuid());
    DIR *dir = opendir(set_dir());
    for (struct dirent *e; dir && budget > 0 && (e = readdir(dir));) {
        struct stat st;
        if (strncmp(e->d_name, prefix, (size_t)length) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", set_dir(), e->d_name);
        if (stat(path, &st) != 0 || time(NULL) - st.st_mtime < 3600) continue;
        int fd = open_locked(path, false, &st);
        if (fd < 0) continue;
        remove_unused(path, fd, &st);
        flock(fd, LOCK_UN);
        close(fd);
        budget--;
    }
    if (dir) closedir(dir);
}

struct set *set_open(const char *name, bool create, uint64_t capacity, int devices) {
    char path[256];
    struct stat st;
    set_path(path, sizeof path, name);
    int fd = open_locked(path, create, &st);
    if (fd < 0) return NULL;
    struct set *set = map_file(fd, &st, create);
    bool fresh = set && set->magic != SET_MAGIC && create;
    if (fresh) set_initialise(set, capacity, devices);
    if (create) futimens(fd, NULL);      /* in use now: see sweep_old_sets */
    flock(fd, LOCK_UN);                  /* the mapping keeps the open file, so closing would not unlock */
    close(fd);
    if (fresh) sweep_old_sets();
    if (set && set->magic != SET_MAGIC) {
        munmap(set, sizeof *set);
        set = NULL;
        errno = EINVAL;
    }
    return set;
}

/* The slots are right even when a process died in the middle of an update; the sums may not be. */
static void set_recompute(struct set *set) {
    for (int d = 0; d < SET_DEVICES; d++) {
        uint64_t live = 0, reserved = 0;
        for (int s = 0; s < (int)set->slots_used; s++) {
            live += set->slot[s].dev[d].live;
            reserved += set->slot[s].dev[d].reserved;
        }
        set->dev[d].live = live;
        set->dev[d].reserved = reserved;
    }
}

void set_lock(struct set *set) {
    if (pthread_mutex_lock(&set->lock) == EOWNERDEAD) {
        pthread_mutex_consistent(&set->lock);
        set_recompute(set);
    }
}

void set_unlock(struct set *set) { pthread_mutex_unlock(&set->lock); }

static bool slot_alive(const struct set_slot *slot) {
    if (kill((pid_t)slot->pid, 0) != 0 && errno == ESRCH) return false;
    uint64_t start = process_start_time((int)slot->pid);
    return start != 0 && start == slot->start;
}

/* A dead process lets go of its objects; what others still hold is charged to one of them. */
static void slot_let_go_of_objects(struct set *set, int s) {
    for (int i = 0; i < (int)set->objects_used; i++) {
        struct set_object *o = &set->object[i];
        if (!o->used) continue;
        o->holders &= ~(1ull << s);
        if (o->charged != (uint32_t)s) {
            if (!o->holders && o->orphan) o->used = 0;
            continue;
        }
        if (!o->holders) {
            o->used = 0;
            continue;
        }
        int heir = __builtin_ctzll(o->holders);
        o->charged = (uint32_t)heir;
        set->slot[heir].dev[o->device].live += o->live;
        set->slot[heir].dev[o->device].reserved += o->reserved;
    }
}

int set_reap(struct set *set) {
    int dead = 0;
    for (int s = 0; s < (int)set->slots_used; s++) {
        struct set_slot *slot = &set->slot[s];
        if (!slot->pid || slot->pid == (uint32_t)getpid() || slot_alive(slot)) continue;
        for (int n = 0; n < SET_NAMES; n++) {
            set->past_calls[n] += atomic_exchange_explicit(&slot->calls[n], 0, memory_order_relaxed);
            set->past_wrong[n] += atomic_exchange_explicit(&slot->wrong[n], 0, memory_order_relaxed);
        }
        memset(slot->dev, 0, sizeof slot->dev);
        slot_let_go_of_objects(set, s);
        slot->pid = 0;
        dead++;
    }
    if (dead) set_recompute(set);
    return dead;
}

int set_join(struct set *set) {
    int found = -1;
    set_lock(set);
    set_reap(set);
    for (int s = 0; s < (int)set->slots_used && found < 0; s++)
        if (!set->slot[s].pid) found = s;
    if (found < 0 && set->slots_used < SET_SLOTS) found = (int)set->slots_used++;
    if (found >= 0) {
        struct set_slot *slot = &set->slot[found];
        memset(slot, 0, sizeof *slot);
        int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            ssize_t n = read(fd, slot->command, sizeof slot->command - 1);
            if (n > 0) slot->command[n - 1] = 0;
            close(fd);
        }
        slot->start = process_start_time(getpid());
        slot->pid = (uint32_t)getpid();
    }
    set_unlock(set);
    return found;
}

static void usage_add(struct set_usage *u, uint64_t live, uint64_t reserved) {
    u->live += live;
    u->reserved += reserved;
    u->allocs++;
    if (u->live > u->peak_live) u->peak_live = u->live;
    if (u->reserved > u->peak_reserved) u->peak_reserved = u->reserved;
}

bool set_charge(struct set *set, int me, int device, uint64_t live, uint64_t reserved) {
    set_lock(set);
    bool fits = set->dev[device].reserved + reserved <= set->capacity[device] && reserved <= set->capacity[device];
    if (!fits && set_reap(set)) fits = set->dev[device].reserved + reserved <= set->capacity[device];
    if (fits) {
        usage_add(&set->slot[me].dev[device], live, reserved);
        usage_add(&set->dev[device], live, reserved);
    }
    set_unlock(set);
    return fits;
}

void set_uncharge(struct set *set, int me, int device, uint64_t live, uint64_t reserved) {
    set_lock(set);
    struct set_usage *u = &set->slot[me].dev[device], *d = &set->dev[device];
    u->live -= live;
    u->reserved -= reserved;
    d->live -= live;
    d->reserved -= reserved;
    u->frees++;
    d->frees++;
    set_unlock(set);
}

struct set_object *set_object_find(struct set *set, uint64_t inode, uint64_t offset) {
    for (int i = 0; i < (int)set->objects_used; i++)
        if (set->object[i].used && set->object[i].inode == inode && set->object[i].offset == offset) return &set->object[i];
    return NULL;
}

struct set_object *set_object_by_id(struct set *set, uint64_t id) {
    for (int i = 0; i < (int)set->objects_used; i++)
        if (set->object[i].used && set->object[i].id == id) return &set->object[i];
    return NULL;
}

bool set_remove(const char *name) {
    char path[256];
    struct stat st;
    set_path(path, sizeof path, name);
    int fd = open_locked(path, false, &st);
    if (fd < 0) return false;
    bool gone = remove_unused(path, fd, &st);
    flock(fd, LOCK_UN);
    close(fd);
    return gone;
}
