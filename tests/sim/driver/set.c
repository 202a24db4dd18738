/* set.c: the shared file of a device set: who is alive, who holds what. The nouns are in set.h. */
#define _GNU_SOURCE
#include "set.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

static void set_path(char *out, size_t size, const char *name) {
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    char clean[128];
    size_t n = 0;
    if (!name || !*name) name = getenv("SIM_DEVICE_NAME");
    if (!name || !*name) name = "default";
    for (const char *p = name; *p && n < sizeof clean - 1; p++) clean[n++] = *p == '/' ? '_' : *p;
    clean[n] = 0;
    snprintf(out, size, "%s/simulated-gpu-%u-v%d-%s", dir && *dir ? dir : "/tmp", (unsigned)getuid(), SET_VERSION, clean);
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

struct set *set_open(const char *name, bool create, uint64_t capacity, int devices) {
    char path[256];
    set_path(path, sizeof path, name);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (fd < 0) return NULL;
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {}
    struct stat st;
    struct set *set = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_uid == getuid() && (st.st_size >= (off_t)sizeof *set ||
            (create && ftruncate(fd, sizeof *set) == 0)))
        set = mmap(NULL, sizeof *set, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (set == MAP_FAILED) {
        close(fd);
        return NULL;
    }
    if (set->magic != SET_MAGIC && create) set_initialise(set, capacity, devices);
    flock(fd, LOCK_UN);                  /* closing does not: the mapping keeps the open file */
    close(fd);
    if (set->magic != SET_MAGIC) {
        munmap(set, sizeof *set);
        errno = EINVAL;
        return NULL;
    }
    return set;
}

/* The slots are right even when a process died in the middle of an update; the sums may not be. */
static void set_recompute(struct set *set) {
    for (int d = 0; d < SET_DEVICES; d++) {
        uint64_t live = 0, reserved = 0;
        for (int s = 0; s < SET_SLOTS; s++) {
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
    for (int i = 0; i < SET_OBJECTS; i++) {
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
    for (int s = 0; s < SET_SLOTS; s++) {
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
    for (int s = 0; s < SET_SLOTS && found < 0; s++)
        if (!set->slot[s].pid) found = s;
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
    for (int i = 0; i < SET_OBJECTS; i++)
        if (set->object[i].used && set->object[i].inode == inode && set->object[i].offset == offset) return &set->object[i];
    return NULL;
}

struct set_object *set_object_by_id(struct set *set, uint64_t id) {
    for (int i = 0; i < SET_OBJECTS; i++)
        if (set->object[i].used && set->object[i].id == id) return &set->object[i];
    return NULL;
}

bool set_remove(const char *name) {
    char path[256];
    struct set *set = set_open(name, false, 0, 0);
    if (!set) return false;
    bool used = false;
    set_lock(set);
    set_reap(set);
    for (int s = 0; s < SET_SLOTS; s++) used |= set->slot[s].pid != 0;
    set_path(path, sizeof path, name);
    if (!used) used = unlink(path) != 0;
    set_unlock(set);
    munmap(set, sizeof *set);
    return !used;
}
