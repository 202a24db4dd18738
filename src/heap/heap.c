/* heap.c: jemalloc's settings, its start, and the numbers that only it knows.
 *
 * The settings, and what each was chosen for:
 *   tcache_max 64 KiB, eight blocks a class: what is larger is kept by kept.c; at most 2.6 MiB of blocks of 16 KiB and
 *     more can rest in an idle thread
 *   oversize_threshold 32 MiB: only larger blocks go back to the system at once (as in glibc; jemalloc's own 8 MiB makes
 *     work buffers slow). The first arena is made before the setting counts and is told again
 *   dirty_decay 2 s, muzzy_decay 0: freed pages serve again for two seconds, then they are given back for good
 *   cache_oblivious off (a variable; 5.3.0 forgot to parse it): a page less for each block of 16 KiB and more
 *   narenas: one a processor, at most 16; jemalloc's four would each keep pages of their own
 *   zero_realloc free: realloc(p, 0) frees, as in glibc. */
#include "heap/heap.h"
#include "base/clock.h"
#include "base/sys.h"
#include "base/text.h"
#include "heap/budget.h"
#include "heap/hand.h"
#include "heap/jemalloc.h"
#include "heap/life.h"
#include "heap/packed.h"
#include "heap/structs.h"
#include "heap/thread.h"
#include "heap/typed.h"
#include "dtesn/demand.h"
#include "stats/service.h"
#include "stats/totals.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/single_threaded.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define SETTINGS "tcache_max:65536,tcache_nslots_large:8,oversize_threshold:33554432,dirty_decay_ms:2000,muzzy_decay_ms:0," \
    "dss:disabled,zero_realloc:free,trust_madvise:true,narenas:"
#define ALL_ARENAS_NAME "4096" /* MALLCTL_ARENAS_ALL */
enum { OVERSIZE = 32 << 20, ARENAS_MOST = 16, ALL_ARENAS = 4096 };
#define REFRESH_NS 100000000u
#define REFRESH_FROM ((uint64_t)16 << 20)

void (*heap_on_very_large)(void);
const char *je_malloc_conf; /* jemalloc reads it once, at its start */

static unsigned processors(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : ARENAS_MOST;
    return n < 1 ? 1 : n > ARENAS_MOST ? ARENAS_MOST : (unsigned)n;
}

bool heap_init(void) {
    static char settings[sizeof SETTINGS + 24];
    int saved = errno;
    if (!heap_reserve_init()) return false;
    struct text t = text_in(settings, sizeof settings);
    text_add(&t, SETTINGS);
    text_u64(&t, processors());
    je_malloc_conf = settings;
    je_opt_cache_oblivious = false;
    je_free(je_malloc(1));
    size_t oversize = OVERSIZE;
    je_mallctl("arena.0.oversize_threshold", NULL, NULL, &oversize, sizeof oversize);
    heap_threads_init();
    packed_begin();
    errno = saved;
    return true;
}

/* Memory that is kept for ever is not purged: every other arena is asked by itself then. */
static void purge(void) {
    size_t mib[3], length = 3, size = sizeof(unsigned);
    unsigned count = 0;
    if (je_mallctlnametomib("arena.0.purge", mib, &length) != 0 || je_mallctl("arenas.narenas", &count, &size, NULL, 0) != 0) return;
    for (unsigned i = 0; i < count; i++) {
        mib[1] = i;
        if (!heap_typed_keeps(i)) je_mallctlbymib(mib, length, NULL, NULL, NULL, 0);
    }
}

/* Asks every arena for `what`. */
static void every_arena(const char *what) {
    size_t mib[3], length = 3;
    if (je_mallctlnametomib(what, mib, &length) != 0) return;
    mib[1] = ALL_ARENAS;
    je_mallctlbymib(mib, length, NULL, NULL, NULL, 0);
}

void heap_decay(void) {
    size_t before = heap_returned_bytes();
    int saved = errno;
    uint64_t start = clock_ns();
    every_arena("arena.0.decay");
    packed_decay(start);
    heap_budget_consolidated(heap_returned_bytes() - before, clock_ns() - start);
    errno = saved;
}

size_t heap_purge(void) {
    size_t before = heap_returned_bytes();
    int saved = errno;
    uint64_t start = clock_ns();
    kept_sweep(true);
    packed_purge();
    purge();
    size_t gone = heap_returned_bytes() - before;
    heap_budget_consolidated(gone, clock_ns() - start);
    errno = saved;
    return gone;
}

bool heap_trim(void) {
    int saved = errno;
    kept_release(true);
    heap_typed_flush(&heap_thread), hand_flush(&heap_thread);
    je_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    errno = saved;
    return heap_purge() > 0;
}

/* --- what is published now and then */

/* The second number of /proc/self/statm, in bytes. */
static uint64_t resident_now(void) {
    char line[128];
    if (sys_read_file("/proc/self/statm", line, sizeof line) <= 0) return 0;
    uint64_t pages = 0;
    const char *at = line;
    while (*at && *at != ' ') at++;
    for (at += *at == ' '; *at >= '0' && *at <= '9'; at++) pages = pages * 10 + (uint64_t)(*at - '0');
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void heap_refresh_resident(void) {
    uint64_t resident = resident_now();
    if (!resident) return;
    counter_set(&counters->host.resident_bytes, resident);
    counter_raise(&counters->host.peak_resident_bytes, resident);
    counter_set(&counters->host.published_ns, clock_ns());
}

/* What each type has handed out, and as untyped the rest; right to what threads have at hand. After `epoch`. */
static void refresh_types(uint64_t live) {
    uint64_t typed = 0;
    for (unsigned type = COPPICE_EPISODIC; type < COPPICE_TYPES; type++) {
        uint64_t bytes = heap_typed_handed_out((enum coppice_type)type);
        heap_budget_type_is(type, bytes);
        typed += bytes;
    }
    heap_budget_type_is(COPPICE_UNTYPED, live > typed ? live - typed : 0);
}

/* Pages that the heap has and the program does not use. */
static void refresh_cached(void) {
    uint64_t epoch = 1, live = counters_host_totals(counters).live_bytes;
    size_t resident = 0, small = 0, length = sizeof resident;
    if (je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) != 0) return;
    if (je_mallctl("stats.resident", &resident, &length, NULL, 0) != 0) return;
    if (je_mallctl("stats.arenas." ALL_ARENAS_NAME ".small.allocated", &small, &length, NULL, 0) == 0) packed_consider(small);
    counter_set(&counters->host.packed_bytes, packed_held());
    resident += structs_held() + packed_held();
    counter_set(&counters->host.cached_bytes, resident > live ? resident - live : 0);
    refresh_types(live);
}

/* Of the whole heap; what other threads have not published yet is missing. */
static struct demand demand;

bool heap_keeps_too_much(uint64_t now_ns) {
    int saved = errno;
    uint64_t live = counters_host_totals(counters).live_bytes;
    refresh_cached();
    demand_tick(&demand, live, now_ns);
    demand_rises(&demand, live);
    errno = saved;
    return live + counter_get(&counters->host.cached_bytes) > demand_keep(&demand, live);
}

bool heap_use(uint64_t *used, uint64_t *limit) {
    const struct dtesn_counters *tree = &counters->tree[0];
    struct sysinfo machine = { 0 };
    if (counter_get(&counters->host.published_ns) == 0 || sysinfo(&machine) != 0) return false;
    *used = counters_host_totals(counters).live_bytes + counter_get(&counters->host.cached_bytes);
    *limit = counter_get(&tree->in_use) ? counter_get(&tree->limit_bytes) : (uint64_t)machine.totalram * machine.mem_unit;
    return true;
}

/* A process with threads of its own that has come to this size gets the service thread, which gives memory back while the
 * program does nothing. A fork's child does not, unless somebody asks it for statistics or it uses a device. */
#define SERVED_FROM ((uint64_t)64 << 20)
static _Atomic bool inherited;
bool heap_is_large(void) { return counters_host_totals(counters).live_bytes + counter_get(&counters->host.cached_bytes) >= SERVED_FROM; }

static void serve_if_large(void) {
    if (!__libc_single_threaded && !sys_is_shut_in() && !service_runs() && !atomic_load(&inherited) && heap_is_large()) service_start();
}

void heap_fork_child_alone(void) {
    atomic_store(&inherited, true);
    demand_fork_child(&demand);
}

/* Looking at the whole process needs a descriptor and a few system calls, which a small process in a sandbox may not make: only those that
 * have used 16 MiB are looked at from inside malloc; its own heap alone from PACKED_FROM on. */
void heap_refresh_now_and_then(void) {
    static _Atomic uint64_t last;
    uint64_t now = clock_ns(), then = atomic_load_explicit(&last, memory_order_relaxed), used = heap_thread_allocated(&heap_thread);
    if (used < PACKED_FROM) return;
    if (now - then < REFRESH_NS) {
        if (used >= REFRESH_FROM) serve_if_large(); /* a burst may be over before the next look, and the process idle ever after */
        return;
    }
    if (!atomic_compare_exchange_strong(&last, &then, now)) return;
    int saved = errno;
    if (used >= REFRESH_FROM) {
        heap_decay();
        heap_budget_settle(now);
        life_sweep(now);
        heap_refresh_resident();
    }
    refresh_cached();
    if (used >= REFRESH_FROM) serve_if_large();
    errno = saved;
}
