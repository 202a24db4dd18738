/* counters.h: every number that Coppice keeps, in one block of memory that outlives the process.
 *
 * The *counters* are a file mapped shared (STATE_DIR/coppice-<uid>/<pid>-<start time>), so the last numbers of a process
 * killed by any signal can still be read. Where no file can be made they live in plain memory, and only that is lost.
 * Their address never changes: the file is mapped over the plain memory, so a pointer into them is good for ever.
 * A *thread slot* is written by one thread alone, with plain increments; readers add the slots up. A slot whose thread
 * has ended keeps its sums and is used again by the next thread, so nothing is moved and no sum is ever seen twice.
 * A *device block* is written under the locks of src/device or with
 * atomics, as each field says. Readers never lock: each number is one aligned word.
 *
 * What the hot path of the device pool changes lies in shards of its own; totals.h adds them up.
 *
 * host live bytes = inherited_bytes + sum over slots and late of (bytes_allocated - bytes_freed)
 * device: reserved_bytes = live_bytes + rounding_bytes + cached_bytes at every quiescent point
 *
 * The tables below are the design: struct, text, JSON and documents are made from them. Extend, never rename. */
#ifndef COPPICE_STATS_COUNTERS_H
#define COPPICE_STATS_COUNTERS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define COUNTERS_MAGIC 0x31454349505043ull /* "CPPICE1" */
enum { COUNTER_DEVICES = 32, COUNTER_THREADS = 1024, COUNTER_HIT_BUCKETS = 64, COUNTER_CALLS = 192, COUNTER_CALL_NAME = 56, COUNTER_SITES = 512 };
enum { COUNTER_LEVELS = 12, COUNTER_TYPES = 5, COUNTER_TREES = 17 };

typedef _Atomic uint64_t counter;
static inline void counter_add(counter *c, uint64_t n) { atomic_fetch_add_explicit(c, n, memory_order_relaxed); }
static inline uint64_t counter_get(const counter *c) { return atomic_load_explicit(c, memory_order_relaxed); }
static inline void counter_set(counter *c, uint64_t n) { atomic_store_explicit(c, n, memory_order_relaxed); }
/* For a word with a single writer: no locked instruction. */
static inline void counter_bump(counter *c, uint64_t n) { counter_set(c, counter_get(c) + n); }
static inline void counter_raise(counter *c, uint64_t n) {
    uint64_t old = counter_get(c);
    while (old < n && !atomic_compare_exchange_weak_explicit(c, &old, n, memory_order_relaxed, memory_order_relaxed)) {}
}

/* The rows of a table, as fields of a struct. */
#define COUNTER_FIELD(name, unit, help) counter name;

/* One thread's share of the host's numbers; one cache line, one writer. */
struct thread_counters {
    counter allocs, frees;                 /* calls that took or gave back memory */
    counter bytes_allocated, bytes_freed;  /* usable bytes; as of the thread's last publication (src/heap says how often) */
    counter owner;                         /* thread id, 0 = free slot */
    counter intern_lookups, intern_hits;   /* calls of coppice_intern, and those that found their content */
    counter intern_bytes_in;               /* bytes of the contents that they were answered */
};

/* KV_COUNTER(name, unit, help): key/value cache, of the host and of each device; atomic, and rare: a server makes its cache once */
#define KV_COUNTERS(X) \
    X(kv_live_bytes, "bytes", "of live_bytes: key/value cache") \
    X(kv_peak_live_bytes, "bytes", "highest kv_live_bytes") \
    X(kv_allocs, "calls", "allocations of key/value cache")
struct kv_counters {
    KV_COUNTERS(COUNTER_FIELD)
    counter past_ns[2], past_bytes[2]; /* kv_live_bytes at two past moments, the later one first; see kv_changed */
};

/* Key/value cache was taken (or, negative, given back), now. */
void kv_changed(struct kv_counters *n, int64_t bytes, uint64_t now_ns);
/* By how much key/value cache has grown in the last minute or two (less than a minute: since the start). */
int64_t kv_growth(const struct kv_counters *n, uint64_t now_ns);

/* HOST_COUNTER(name, unit, help): process-wide numbers that are published now and then */
#define HOST_COUNTERS(X) \
    X(cached_bytes, "bytes", "free memory that the heap keeps, as of the last refresh") \
    X(packed_bytes, "bytes", "of the heap, areas of blocks that lie side by side (COPPICE_PACK), without pages that went back") \
    X(resident_bytes, "bytes", "the process's resident memory, as of the last refresh") \
    X(peak_resident_bytes, "bytes", "the highest resident memory seen") \
    X(foreign_frees, "calls", "pointers of another heap that were passed on to it") \
    X(cleared_bytes, "bytes", "cleared by giving pages back instead of writing zeros") \
    X(reclaimed_bytes, "bytes", "pages of zeros that were dropped in the background") \
    X(zero_looked_bytes, "bytes", "pages that were looked at for that") \
    X(zero_cpu_ns, "ns", "processor time that it took") \
    X(zero_state, "state", "enum zero_state") \
    X(bootstrap_bytes, "bytes", "served from the bootstrap arena before the heap was up") \
    X(published_ns, "ns", "CLOCK_MONOTONIC of the last refresh")

/* DEVICE_COUNTER(name, unit, help): atomic, one a device. What a hit changes is kept apart, by shard (below). */
#define DEVICE_COUNTERS(X) \
    X(rounding_bytes, "bytes", "reserved beyond what was asked, in live blocks") \
    X(reserved_bytes, "bytes", "taken from the driver: live + rounding + cached") \
    X(peak_live_bytes, "bytes", "highest live_bytes") \
    X(peak_reserved_bytes, "bytes", "highest reserved_bytes") \
    X(misses, "calls", "allocations that asked the driver") \
    X(driver_allocs, "calls", "successful driver allocations") \
    X(driver_frees, "calls", "driver frees") \
    X(trims, "calls", "times cached blocks were given back to the driver") \
    X(oom_recoveries, "calls", "out-of-memory answers that a flush of the cache turned into success") \
    X(foreign_frees, "calls", "frees of pointers that the pool does not own, passed on") \
    X(tainted_blocks, "blocks", "blocks whose identity was exported; never reused") \
    X(exports_refused, "calls", "page backend: legacy IPC exports answered with not supported; blocks of their sizes come whole since") \
    X(exports_served, "blocks", "page backend: shown by a legacy IPC handle of ours, for processes that run Coppice") \
    X(imports_opened, "calls", "handles of such blocks of other processes that were opened") \
    X(imports_refused, "calls", "of them answered with an error") \
    X(asked_bytes, "bytes", "cached blocks given back because another process asked") \
    X(tenant_requests, "calls", "requests to other processes for what they had cached, when the device was full") \
    X(tenant_bytes, "bytes", "what they gave back") \
    X(tenants_silent, "calls", "requests that were not answered in time") \
    X(fences, "calls", "epochs closed by an event") \
    X(fence_waits, "calls", "times an allocation waited for an epoch to pass") \
    X(stitched_blocks, "blocks", "page backend: blocks for which pages were mapped") \
    X(stolen_blocks, "blocks", "page backend: cached blocks taken apart because another needed their pages") \
    X(weights_bytes, "bytes", "SHARE_WEIGHTS: live blocks of weights, in pages; part of reserved_bytes") \
    X(weights_bare_bytes, "bytes", "of them pages that no memory was taken for yet, because nothing was uploaded there") \
    X(weights_once_bytes, "bytes", "of them pages that another process or block has too: memory held once, that was not taken") \
    X(weights_offered, "pages", "uploaded whole and looked for among others") \
    X(weights_equal, "pages", "found, compared, and mapped from one page") \
    X(weights_refused, "pages", "that were found, and were not equal or could not be had") \
    X(weights_copied, "pages", "written after that, and given memory of their own") \
    X(weights_ns, "ns", "time that uploads took longer for it")

/* PINNED_COUNTER(name, unit, help): page-locked host memory made in the context; atomic */
#define PINNED_COUNTERS(X) \
    X(live_bytes, "bytes", "what the program asked for and has not freed") \
    X(rounding_bytes, "bytes", "reserved beyond what was asked, in live memory") \
    X(reserved_bytes, "bytes", "taken from the driver: live + rounding + cached") \
    X(peak_live_bytes, "bytes", "highest live_bytes") \
    X(peak_reserved_bytes, "bytes", "highest reserved_bytes") \
    X(allocs, "calls", "allocations by the program") \
    X(frees, "calls", "frees by the program") \
    X(hits, "calls", "allocations served without a driver allocation") \
    X(misses, "calls", "allocations that asked the driver") \
    X(driver_allocs, "calls", "successful driver allocations") \
    X(driver_frees, "calls", "driver frees, and what went with its context") \
    X(trims, "calls", "cached allocations that were given back")
struct pinned_counters {
    PINNED_COUNTERS(COUNTER_FIELD)
};

/* INTERN_COUNTER(name, unit, help): written under the lock of src/intern; what every hit changes lies in the thread slots.
 * bytes_saved = bytes_in - bytes_added: the copies that were not made */
#define INTERN_COUNTERS(X) \
    X(entries, "contents", "different contents in the table") \
    X(bytes_stored, "bytes", "their bytes") \
    X(bytes_added, "bytes", "contents that were new, since the start") \
    X(held_bytes, "bytes", "memory taken for contents and for what is known of them") \
    X(evictions, "contents", "removed to make room") \
    X(expired, "contents", "removed because of their age") \
    X(refused, "calls", "answered NULL: too long, no room, no memory")
/* SHARE_COUNTERS: of equal pages, written by the one thread that looks for them; shown once it has looked */
#define SHARE_COUNTERS(X) \
    X(pages_shared, "pages", "of the heap replaced by a shared copy, since the start") \
    X(pages_published, "pages", "put into files that others may map") \
    X(pages_merged_by_kernel, "pages", "that the kernel was asked to merge") \
    X(pages_looked_at, "pages", "read to see whether they are equal to others") \
    X(share_cpu_ns, "ns", "CPU time of looking and sharing")

/* PRESSURE_COUNTER(name, unit, help): written by the cleaner alone (src/pressure). level and source are indices into the
 * names below, which readers see instead of them; looks = 0: nobody has looked. */
#define PRESSURE_COUNTERS(X) \
    X(cleanups, "times", "memory was looked for that could go back: timed, idle or because of pressure") \
    X(pressed, "times", "of these, because of pressure") \
    X(bytes_released, "bytes", "given back to the system or a driver by the cleaner") \
    X(looks, "times", "the senses were asked")
#define PRESSURE_LEVELS(X) X(NONE, "none") X(SOME, "some") X(HIGH, "high")
#define PRESSURE_SOURCES(X) X(NOBODY, "none") X(OWN, "own") X(GROUP, "group") X(MACHINE, "machine") X(STALL, "stall") X(DEVICE, "device")
#define X(id, name) PRESSURE_##id,
enum pressure_level { PRESSURE_LEVELS(X) PRESSURE_LEVEL_COUNT };
enum pressure_source { PRESSURE_SOURCES(X) PRESSURE_SOURCE_COUNT };
#undef X

struct pressure_counters {
    counter level, source, fullness; /* as of the last look; fullness in thousandths of the fullest limit */
    PRESSURE_COUNTERS(COUNTER_FIELD)
};

struct intern_counters {
    INTERN_COUNTERS(COUNTER_FIELD)
    SHARE_COUNTERS(COUNTER_FIELD)
};

/* Are pages of zeros looked for? Not yet (or not wanted), yes, or the kernel does not let us. */
enum zero_state { ZERO_UNKNOWN, ZERO_AT_WORK, ZERO_REFUSED };

struct host_counters {
    HOST_COUNTERS(COUNTER_FIELD)
    struct kv_counters kv;
};

/* What every hit and free changes: one cache line a shard of the device's cache, written under the shard's lock. */
#define DEVICE_SHARD_COUNTERS(X) \
    X(allocs, "calls", "allocations by the program") \
    X(frees, "calls", "frees by the program") \
    X(hits, "calls", "allocations served without a driver allocation")
enum { COUNTER_SHARDS = 16 };
struct device_shard_counters {
    DEVICE_SHARD_COUNTERS(COUNTER_FIELD)
    counter spare_bytes;   /* of the device's claimed_bytes: not live */
    counter reserved_[12]; /* two lines of cache: processors fetch them in pairs, and every shard is another thread's */
};

struct device_counters {
    counter in_use;   /* 0: this entry says nothing */
    counter id;       /* device ordinal */
    counter context;  /* the CUcontext's address, 0 when it is the device's total */
    counter capacity; /* bytes of the device */
    counter uuid_high, uuid_low; /* the device, whichever ordinal a process knows it by; 0: not known */
    char name[96];
    struct kv_counters kv;
    counter claimed_bytes; /* what the program asked for and has not freed, to the byte, and what the shards have spare; see device_live */
    DEVICE_COUNTERS(COUNTER_FIELD)
    /* sampled time of hits: bucket b counts hits of [2^(b/4), 2^((b+1)/4)) ns */
    counter hit_ns[COUNTER_HIT_BUCKETS];
    _Alignas(128) struct device_shard_counters shard[COUNTER_SHARDS];
    struct pinned_counters pinned;
};

/* A tree of membranes (src/dtesn): tree[0] is the host's, the others are devices'. Atomic; what a hit changes lies in
 * the cells of its context (below). A level's budget is that of all its membranes, with what they gave to deeper ones. */
#define DTESN_COUNTERS(X) \
    X(limit_bytes, "bytes", "the root's budget") \
    X(depth, "levels", "levels of the tree") \
    X(borrowed_allocations, "calls", "allocations for which another membrane lent budget or cached memory") \
    X(refused_allocations, "calls", "allocations that a hard limit refused") \
    X(over_bytes, "bytes", "held beyond a soft limit") \
    X(consolidations, "times", "cached memory moved a level up, or from the root to where it came from") \
    X(bytes_consolidated, "bytes", "as many bytes moved") \
    X(consolidation_ns, "ns", "time that this took")
#define DTESN_LEVEL_COUNTERS(X) \
    X(membranes, "membranes", "membranes of the level") \
    X(budget_bytes, "bytes", "their budgets") \
    X(held_bytes, "bytes", "what they hold, live and cached") \
    X(cached_bytes, "bytes", "of it cached (the host's tree)") \
    X(rounding_bytes, "bytes", "of it rounding of live blocks (a device's tree)")

struct dtesn_level_counters {
    DTESN_LEVEL_COUNTERS(COUNTER_FIELD)
};
struct dtesn_counters {
    counter in_use; /* 0: this entry says nothing */
    counter device; /* ordinal; of a device's tree */
    DTESN_COUNTERS(COUNTER_FIELD)
    struct dtesn_level_counters level[COUNTER_LEVELS];
    counter type_live_bytes[COUNTER_TYPES]; /* the host's tree, as of the last refresh: what is handed out of each type's arena */
};

/* What a hit and a free change of a device's tree, by the block's type and level: under the lock of the shard that the
 * freeing or allocating thread uses, so a single shard's live bytes may be negative, their sum never is. */
struct dtesn_cell { counter live_bytes, allocs; };
struct dtesn_cells { struct dtesn_cell cell[COUNTER_TYPES][COUNTER_LEVELS]; };
struct device_cells { struct dtesn_cells shard[COUNTER_SHARDS + 1]; }; /* the last is written with atomics, by rare paths */

/* What other processes may ask; control.h says how. Requesters write `request`, then `number`, then `bell`; the process
 * itself the rest. Bytes and texts of an answer count only once `answered` is the number. */
enum control_verb { CONTROL_TRIM = 1, CONTROL_SET = 2 };
enum control_verdict { CONTROL_DONE = 1, CONTROL_REFUSED = 2 };
enum { CONTROL_TEXT = 256 };
struct control_request {
    uint64_t verb;
    uint64_t deadline_ns; /* CLOCK_BOOTTIME */
    uint64_t device[2];   /* TRIM: the device's UUID; zeros: every device, and the heap */
    char text[CONTROL_TEXT]; /* SET: NAME=VALUE */
};
struct control_answer {
    uint64_t verdict; /* 0: the deadline had passed */
    uint64_t device_bytes, pool_bytes, pinned_bytes, host_bytes; /* given back */
    char why[CONTROL_TEXT]; /* REFUSED */
};
struct control {
    _Atomic uint32_t bell;    /* futex of the service thread */
    _Atomic uint32_t listens; /* 1: there is one */
    counter number, answered;
    counter served, expired;  /* requests that were acted on, and those found after their deadline */
    struct control_request request;
    struct control_answer answer;
};

/* Calls that are passed through, by name: filled once by the hook table, counted for ever. */
struct call_counters {
    char name[COUNTER_CALL_NAME];
    counter calls;
};

/* SITE_COUNTER(name, unit, help): atomic; one site of src/sites */
#define SITE_COUNTERS(X) \
    X(live_bytes, "bytes", "asked for there and not freed") \
    X(peak_live_bytes, "bytes", "highest live_bytes") \
    X(allocs, "calls", "allocations") \
    X(frees, "calls", "of them freed") \
    X(bytes, "bytes", "asked for since the start")

/* One site. The texts are written once, before in_use. */
struct site_counters {
    char name[96];      /* library+offset */
    char function[160]; /* the exported function around it, "" where none is known */
    char rule[160];     /* the rule that decided, "" for none */
    counter in_use;
    counter api, least_bytes;           /* who asks (enum site_api of names.h), and the smallest size of its band */
    counter type, kv, reason;           /* enum coppice_type, key/value cache, enum site_reason */
    counter observations;               /* samples from which the type was learned */
    SITE_COUNTERS(COUNTER_FIELD)
};

/* OBSERVED_COUNTERS(name, unit, help): a group of blocks of one size, of the last look (src/intern/observe.h); one thread writes */
#define OBSERVED_COUNTERS(X) \
    X(size, "bytes", "what blocks of the group hold at most") \
    X(contents, "contents", "looked at: small blocks, pages of large ones") \
    X(bytes, "bytes", "looked at") \
    X(duplicate_bytes, "bytes", "of them in contents that another one of the group has too") \
    X(live_bytes, "bytes", "that these samples stand for") \
    X(could_save_bytes, "bytes", "of them duplicates")
enum { COUNTER_OBSERVED = 64 };
struct observed_counters {
    OBSERVED_COUNTERS(COUNTER_FIELD)
};

/* PARAMS_COUNTERS(name, unit, help): a pool of parameter structs (src/heap/structs.h), under its lock; the last two by observe.c */
#define PARAMS_COUNTERS(X) \
    X(live_objects, "objects", "structs that live") \
    X(allocs, "calls", "structs that were asked for") \
    X(reused, "calls", "of them served where an earlier one had been") \
    X(held_bytes, "bytes", "memory of the pool") \
    X(looked_bytes, "bytes", "live structs that were read at the last look (COPPICE_INTERN=observe)") \
    X(duplicate_bytes, "bytes", "of them in structs equal to another one of the pool")
enum { COUNTER_PARAMS = 128 };
struct params_counters {
    counter site, size; /* 1 + index in site[]; bytes of a struct, 0: there is no such pool */
    PARAMS_COUNTERS(COUNTER_FIELD)
};

struct counters {
    uint64_t magic;
    uint64_t size;        /* sizeof (struct counters): readers refuse another layout */
    uint64_t version;     /* COPPICE_VERSION_NUMBER of the writer */
    counter pid, start_ticks; /* pid and start time (field 22 of /proc/pid/stat) name the process */
    counter pid_namespace;    /* in which the pid counts: inode of /proc/self/ns/pid */
    counter start_ns, end_ns; /* CLOCK_BOOTTIME; end is 0 while it runs or when it was killed */
    counter inherited_bytes;  /* live in the parent when fork made this process */
    counter threads_ready;    /* slots thread[0..threads_ready) have memory; the others are not even read */
    counter sites_ready;      /* the same of site[] */
    counter sites_used;       /* site[0..sites_used) are sites; at most sites_ready */
    char command[256];    /* the command line, NUL-ended, arguments joined by spaces */
    struct host_counters host;
    struct intern_counters intern;
    struct pressure_counters pressure;
    counter observe_looks, observe_cpu_ns; /* times that samples were looked at, and what it cost */
    struct observed_counters observed[COUNTER_OBSERVED]; /* contents 0: nothing is said */
    struct params_counters params[COUNTER_PARAMS];
    struct thread_counters late; /* shared, atomic adds: threads without a slot, frees that arrive after a thread's end */
    struct device_counters device[COUNTER_DEVICES];
    struct call_counters call[COUNTER_CALLS];
    struct dtesn_counters tree[COUNTER_TREES];
    struct control control;
    _Alignas(4096) struct thread_counters thread[COUNTER_THREADS];
    _Alignas(4096) struct device_cells cells[COUNTER_DEVICES]; /* of device[]; have memory once counters_device_cells gave it */
    _Alignas(4096) struct site_counters site[COUNTER_SITES];
};

/* The counters of this process: plain memory until counters_open succeeds. */
extern struct counters *const counters;

/* Moves the counters into a file, with what they hold. Called once at start, while there is one thread, and again first
 * thing in a fork's child (`child`): there everything starts at zero in a file of its own (names of calls are kept,
 * inherited_bytes is what was live at the fork), the parent's file is not written, and the caller begins a new thread
 * slot. Returns 0 or a negative errno; failure is silent and leaves the counters in plain memory. */
int counters_open(bool child);
/* Before fork, in the parent: remembers what the child will inherit. Without it the child looks after the fork. */
void counters_before_fork(void);
/* Marks a clean end (end_ns). Unlinks the file when `keep` is false. Async-signal-safe; does nothing in a process that
 * did not open it (a vfork's child, a raw clone). */
void counters_close(bool keep);
/* Path of the file, "" when there is none. */
const char *counters_path(void);

/* A slot for the calling thread; never NULL (the shared `late` slot when all are taken: then atomic adds are needed,
 * which `counters_slot_is_shared` says). Lock-free. */
struct thread_counters *counters_thread_begin(void);
/* Gives the slot back; the thread's last numbers must be in it. */
void counters_thread_end(struct thread_counters *slot);
static inline bool counters_slot_is_shared(const struct thread_counters *slot) { return slot == &counters->late; }

/* The cells of device[index], which have memory from now on; called once a context, before it is used. */
struct device_cells *counters_device_cells(unsigned index);
/* The next site, all zero, for its writer to fill and then to set in_use; NULL: no room. */
struct site_counters *counters_site(void);
/* Registers a pass-through call's name and returns its counter; the same name gives the same one; never NULL. */
counter *counters_call(const char *name);
#endif
