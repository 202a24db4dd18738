/* counters.c: the counters' memory and the slots of threads; see counters.h.
 *
 * At first the counters are static memory. counters_open makes the file, maps it elsewhere, fills it, and then moves the
 * mapping over the static memory in one step. In a fork's child the same step puts the child's own file in the place
 * of its parent's. No descriptor stays open: programs close, count and inherit descriptors.
 *
 * A page of a full /dev/shm that is touched first through a mapping is a SIGBUS, so no page is written before it is
 * *ready*: counters_open reserves all up to the thread slots; slots become ready a step at a time, when threads come,
 * and where the file cannot grow the step becomes private memory and only those slots die with the process. */
#include "stats/counters.h"
#include "base/lock.h"
#include "base/sys.h"
#include "base/text.h"
#include "base/version.h"
#include "stats/folder.h"
#include "stats/totals.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALL = (sizeof(struct counters) + PAGE_MOST - 1) / PAGE_MOST * PAGE_MOST,
    FIRST = offsetof(struct counters, thread), /* reserved at once; the rest when threads come */
    STEP = PAGE_MOST / sizeof(struct thread_counters),
    SITE_STEP = PAGE_MOST / sizeof(struct site_counters),
};
_Static_assert(FIRST % 4096 == 0 && COUNTER_THREADS % STEP == 0 && COUNTER_SITES % SITE_STEP == 0 && PAGE_MOST % sizeof(struct site_counters) == 0,
               "slots and sites become ready by whole pages");

static union {
    _Alignas(PAGE_MOST) struct counters block;
    char room[ALL];
} plain;
struct counters *const counters = &plain.block;

static struct lock growing = LOCK_INIT(RANK_COUNTERS);
static char file_path[FOLDER_PATH + 64];
static uint64_t live_at_fork = UINT64_MAX;

const char *counters_path(void) { return file_path; }

static uint64_t boot_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- who this process is */

static void own_command(char *command, size_t capacity) {
    ssize_t n = sys_read_file("/proc/self/cmdline", command, capacity);
    while (n > 0 && command[n - 1] == 0) n--;
    for (ssize_t i = 0; i < n; i++)
        if (command[i] == 0) command[i] = ' ';
}

/* A *name* tells processes apart, in the file's name and inside it. */
struct name { uint64_t pid, start_ticks, namespace; };

static struct name own_name(void) {
    struct stat s;
    uint64_t namespace = stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
    return (struct name){ (uint64_t)getpid(), sys_start_ticks(0), namespace };
}

static void write_head(struct counters *c, const struct name *name) {
    c->magic = COUNTERS_MAGIC;
    c->size = sizeof *c;
    c->version = COPPICE_VERSION_NUMBER;
    counter_set(&c->pid, name->pid);
    counter_set(&c->start_ticks, name->start_ticks);
    counter_set(&c->pid_namespace, name->namespace);
    counter_set(&c->start_ns, boot_ns());
    counter_set(&c->end_ns, 0);
}

/* --- the file */

/* A new file of our name in the open folder, its first pages reserved: a descriptor or a negative errno. A file of this
 * name is there already when this process has been through exec; it goes. */
static int make_file_in(int folder, const char *name) {
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(folder, name, flags, 0600);
    if (fd < 0 && errno == EEXIST && unlinkat(folder, name, 0) == 0) fd = openat(folder, name, flags, 0600);
    if (fd < 0) return -errno;
    int error = ftruncate(fd, ALL) == 0 ? posix_fallocate(fd, 0, FIRST) : errno;
    if (error == 0) return fd;
    unlinkat(folder, name, 0);
    close(fd);
    return -error;
}

/* Tries the places in order; the file's path is left in file_path. */
static int make_file(const struct name *n) {
    int fd = sys_may_grow(ALL);
    for (unsigned place = 0; fd != -EFBIG && place < FOLDER_PLACES; place++) {
        if (!folder_path(place, geteuid(), file_path)) continue;
        int folder = folder_open(file_path, geteuid(), true);
        if (folder < 0) continue;
        struct text path = { .bytes = file_path, .length = strlen(file_path), .capacity = sizeof file_path };
        text_char(&path, '/');
        size_t folder_length = path.length;
        text_u64(&path, n->pid), text_char(&path, '-'), text_u64(&path, n->start_ticks);
        fd = make_file_in(folder, file_path + folder_length);
        close(folder);
        if (fd >= 0) return fd;
    }
    file_path[0] = 0;
    return fd < 0 ? fd : -ENOENT;
}

/* The memory that will take the counters' place: the file's, else (in a child, which may not keep its parent's) plain. */
static struct counters *new_memory(const struct name *name, bool child, int *error) {
    int fd = *error = make_file(name);
    struct counters *fresh = NULL;
    if (fd >= 0) {
        fresh = sys_map_file(fd, ALL);
        *error = fresh ? 0 : -ENOMEM;
        if (!fresh) unlink(file_path), file_path[0] = 0;
        close(fd);
    }
    return fresh || !child ? fresh : sys_map(NULL, ALL, PROT_READ | PROT_WRITE);
}

/* Gives a part of the counters its pages. False: it must not be touched. */
static bool make_ready(struct counters *c, void *at, size_t length) {
    if (!file_path[0]) return true;
    int error = sys_populate(at, length);
    if (error == -EINVAL) { /* an old kernel: reserve in the file */
        int fd = sys_open(file_path, O_RDWR | O_NOFOLLOW, 0);
        error = fd < 0 ? fd : posix_fallocate(fd, (char *)at - (char *)c, (off_t)length);
        if (fd >= 0) close(fd);
    }
    return error == 0 || mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* Thread slots from..from + STEP. */
static bool make_slots_ready(struct counters *c, unsigned from) { return make_ready(c, &c->thread[from], STEP * sizeof c->thread[0]); }

/* A fork's child has the code of its parent, so the sites keep their numbers and names; what was counted is the parent's. */
static void inherit_sites(struct counters *fresh) {
    unsigned used = (unsigned)counter_get(&counters->sites_used);
    for (unsigned i = 0; i < used; i++) {
        if (i % SITE_STEP == 0 && !make_ready(fresh, &fresh->site[i], SITE_STEP * sizeof fresh->site[0])) return;
        struct site_counters *n = &fresh->site[i];
        *n = counters->site[i];
#define CLEAR(name, unit, help) counter_set(&n->name, 0);
        SITE_COUNTERS(CLEAR)
        counter_set(&fresh->sites_used, i + 1), counter_set(&fresh->sites_ready, (i / SITE_STEP + 1) * SITE_STEP);
    }
}

/* What a fork's child takes over from its parent: names, and the memory that it sees through copy on write. */
static void inherit(struct counters *fresh) {
    uint64_t live = live_at_fork != UINT64_MAX ? live_at_fork : counters_host_totals(counters).live_bytes;
    counter_set(&fresh->inherited_bytes, live);
    memcpy(fresh->command, counters->command, sizeof fresh->command);
    for (int i = 0; i < COUNTER_CALLS && counters->call[i].name[0]; i++)
        memcpy(fresh->call[i].name, counters->call[i].name, COUNTER_CALL_NAME);
    inherit_sites(fresh);
}

/* Pages of the library's own memory that nobody has touched are zeros, as the file's are. */
static void copy_touched(char *to, char *from, size_t length) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char there[FIRST / 4096 + 1];
    bool known = mincore(from, length, there) == 0;
    for (size_t at = 0; at < length; at += page)
        if (!known || there[at / page] & 1) memcpy(to + at, from + at, length - at < page ? length - at : page);
}

/* What was counted before the file was there. */
static void take_along(struct counters *fresh) {
    unsigned ready = (unsigned)counter_get(&counters->threads_ready);
    copy_touched((char *)fresh, (char *)counters, FIRST);
    for (unsigned from = 0; from < ready && make_slots_ready(fresh, from); from += STEP)
        memcpy(&fresh->thread[from], &counters->thread[from], STEP * sizeof fresh->thread[0]);
}

static int move_to_file(bool child) {
    struct name name = own_name();
    int error = -ENOTSUP;
    bool movable = (uintptr_t)counters % (uintptr_t)sysconf(_SC_PAGESIZE) == 0;
    struct counters *fresh = movable ? new_memory(&name, child, &error) : NULL;
    if (!fresh && child) return error;
    if (fresh && child) inherit(fresh);
    if (fresh && !child) take_along(fresh);
    struct counters *c = fresh ? fresh : counters;
    write_head(c, &name);
    if (!child) own_command(c->command, sizeof c->command);
    if (fresh && mremap(fresh, ALL, ALL, MREMAP_MAYMOVE | MREMAP_FIXED, counters) == MAP_FAILED) return -errno;
    return error;
}

int counters_open(bool child) {
    int saved = errno, cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (child) lock_reset(&growing); /* whoever grew them is not here */
    int error = move_to_file(child);
    live_at_fork = UINT64_MAX;
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
    return error;
}

void counters_before_fork(void) { live_at_fork = counters_host_totals(counters).live_bytes; }

void counters_close(bool keep) {
    if (counter_get(&counters->pid) != (uint64_t)getpid()) return;
    int saved = errno;
    counter_set(&counters->end_ns, boot_ns());
    if (!keep && file_path[0]) unlink(file_path), file_path[0] = 0;
    errno = saved;
}

/* --- threads' slots */

static bool claim(struct thread_counters *slot, uint64_t thread) {
    uint64_t nobody = 0;
    return counter_get(&slot->owner) == 0 &&
           atomic_compare_exchange_strong_explicit(&slot->owner, &nobody, thread, memory_order_acquire, memory_order_relaxed);
}

/* Makes more than `ready` slots ready; false when there are no more. */
static bool more_slots(uint64_t ready) {
    bool more = false;
    lock_take(&growing);
    if (counter_get(&counters->threads_ready) != ready) more = true; /* another thread was faster */
    else if (ready < COUNTER_THREADS && make_slots_ready(counters, (unsigned)ready)) counter_set(&counters->threads_ready, ready + STEP), more = true;
    lock_release(&growing);
    return more;
}

struct thread_counters *counters_thread_begin(void) {
    uint64_t thread = (uint64_t)gettid(), seen = 0;
    for (;;) {
        uint64_t ready = counter_get(&counters->threads_ready);
        for (uint64_t i = seen; i < ready; i++)
            if (claim(&counters->thread[i], thread)) return &counters->thread[i];
        seen = ready;
        if (!more_slots(ready)) return &counters->late;
    }
}

void counters_thread_end(struct thread_counters *slot) {
    if (!counters_slot_is_shared(slot)) atomic_store_explicit(&slot->owner, 0, memory_order_release);
}

/* --- sites */

struct site_counters *counters_site(void) {
    struct site_counters *next = NULL;
    lock_take(&growing);
    uint64_t used = counter_get(&counters->sites_used), ready = counter_get(&counters->sites_ready);
    if (used == ready && ready < COUNTER_SITES && make_ready(counters, &counters->site[ready], SITE_STEP * sizeof counters->site[0])) counter_set(&counters->sites_ready, ready += SITE_STEP);
    if (used < ready) next = &counters->site[used], counter_set(&counters->sites_used, used + 1);
    lock_release(&growing);
    return next;
}

/* --- devices and calls */

#define KV_MINUTE_NS 60000000000u

void kv_changed(struct kv_counters *n, int64_t bytes, uint64_t now_ns) {
    if (now_ns - counter_get(&n->past_ns[0]) >= KV_MINUTE_NS) {
        counter_set(&n->past_ns[1], counter_get(&n->past_ns[0])), counter_set(&n->past_bytes[1], counter_get(&n->past_bytes[0]));
        counter_set(&n->past_ns[0], now_ns), counter_set(&n->past_bytes[0], counter_get(&n->kv_live_bytes));
    }
    uint64_t live = atomic_fetch_add_explicit(&n->kv_live_bytes, (uint64_t)bytes, memory_order_relaxed) + (uint64_t)bytes;
    if (bytes > 0) counter_raise(&n->kv_peak_live_bytes, live), counter_add(&n->kv_allocs, 1);
}

/* Against the later moment if that is a minute ago, else against the one before. */
int64_t kv_growth(const struct kv_counters *n, uint64_t now_ns) {
    uint64_t live = counter_get(&n->kv_live_bytes), since = now_ns - counter_get(&n->past_ns[0]);
    if (since >= 2 * (uint64_t)KV_MINUTE_NS) return 0; /* nothing has changed */
    return (int64_t)(live - counter_get(&n->past_bytes[since < KV_MINUTE_NS]));
}

struct device_cells *counters_device_cells(unsigned index) {
    static struct device_cells nowhere;
    struct device_cells *cells = &counters->cells[index];
    lock_take(&growing);
    bool ready = make_ready(counters, cells, sizeof *cells);
    lock_release(&growing);
    return ready ? cells : &nowhere;
}

static counter *call_named(const char *name) {
    const size_t most = COUNTER_CALL_NAME - 1;
    for (int i = 0; i < COUNTER_CALLS - 1; i++) {
        struct call_counters *call = &counters->call[i];
        if (strncmp(call->name, name, most) == 0) return &call->calls;
        if (call->name[0]) continue;
        /* readers take no lock: the first byte, which makes the entry exist, comes last */
        strncpy(call->name + 1, name + 1, most - 1);
        __atomic_store_n(call->name, name[0], __ATOMIC_RELEASE);
        return &call->calls;
    }
    struct call_counters *others = &counters->call[COUNTER_CALLS - 1];
    memcpy(others->name, "others", sizeof "others");
    return &others->calls;
}

counter *counters_call(const char *name) {
    lock_take(&growing);
    counter *calls = call_named(name[0] ? name : "unnamed");
    lock_release(&growing);
    return calls;
}
