/* process.c: a process under Coppice from its first allocation to its end.
 * Start: the mode is settled by whichever hook is called first (often before any constructor); the constructor does what
 * may allocate. Fork: locks, then the child's own state. End: the destructor, quick_exit, _exit and _Exit lead to one
 * farewell, which writes statistics if asked and closes the counters; nothing is torn down. */
#include "process.h"
#include "symbol_lookup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/start.h"
#include "base/sys.h"
#include "heap/budget.h"
#include "heap/heap.h"
#include "heap/thread.h"
#include "heap/typed.h"
#include "intern/observe.h"
#include "intern/share.h"
#include "next.h"
#include "sites/site.h"
#include "pressure/cleaner.h"
#include "stats/dump.h"
#include "stats/leftovers.h"
#include "stats/service.h"
#include "stats/totals.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

void *own_malloc(size_t size) __attribute__((visibility("hidden")));

#define KEEP_FROM ((uint64_t)16 << 20)
static struct lock start_lock = LOCK_INIT(RANK_START);
static pid_t own_pid;
static _Atomic bool farewell_said;

bool process_is_a_guest(void) { return getpid() != own_pid; }

/* --- start */

/* Tools that watch memory themselves; a program built for them defines these. */
void __asan_init(void) __attribute__((weak));
void __tsan_init(void) __attribute__((weak));
void __msan_init(void) __attribute__((weak));

static bool tool_at_work(void) {
    const char *preloads = getenv("LD_PRELOAD");
    return __asan_init || __tsan_init || __msan_init || (preloads && (strstr(preloads, "vgpreload") || strstr(preloads, "compute-sanitizer")));
}

static enum coppice_mode settle(void) {
    own_pid = getpid();
    log_remember_stderr();
    if (tool_at_work()) log_silence();
    options_load();
    if (options_off() || tool_at_work()) {
        next_resolve();
        log_silence();
        return MODE_OFF;
    }
    if (!heap_init()) {
        log_line("no address space for a heap; standing aside", NULL);
        next_resolve();
        return MODE_OFF;
    }
    counters_open(false);
    sites_start();
    return MODE_ON;
}

/* A process whose environment was taken away (clearenv) has one all the same once constructors run. */
static bool constructing;

/* A call from inside (lookups may allocate), and one of another thread meanwhile, is answered BOOT. */
enum coppice_mode coppice_start(void) {
    int mode = atomic_load(&coppice_mode_now);
    if (mode != MODE_BOOT || !(environ || constructing) || !lock_try(&start_lock)) return (enum coppice_mode)mode;
    mode = atomic_load(&coppice_mode_now);
    if (mode == MODE_BOOT) {
        mode = settle();
        atomic_store(&coppice_mode_now, mode);
    }
    lock_release(&start_lock);
    return (enum coppice_mode)mode;
}

/* A program with a malloc of its own comes before us in lookup order: half a family is worse than none. */
static bool program_has_its_own(void) {
    void *(*theirs)(size_t) = (void *(*)(size_t))real_dlsym(RTLD_DEFAULT, "malloc");
    if (!theirs || theirs == own_malloc) return false;
    void *p = theirs(1);
    bool ours = heap_owns(p) || bootstrap_owns(p);
    if (ours) free(p); /* it was our own, seen through the program's procedure linkage table */
    return !ours;
}

/* --- fork */

void _IO_list_lock(void) __attribute__((weak));
void _IO_list_unlock(void) __attribute__((weak));
void _IO_list_resetlock(void) __attribute__((weak));

/* fork takes stdio's list of files after these handlers; a thread that has it may wait for memory. Taking it first (it is
 * recursive) keeps the order: list, files, heap. */
static void before_fork(void) {
    if (_IO_list_lock) _IO_list_lock();
    counters_before_fork();
    sites_fork_prepare();
    heap_fork_prepare();
}

static void after_fork_in_parent(void) {
    heap_fork_parent();
    sites_fork_parent();
    if (_IO_list_unlock) _IO_list_unlock();
}

static bool device_in_use(void) {
    for (int i = 0; i < COUNTER_DEVICES; i++)
        if (counter_get(&counters->device[i].in_use)) return true;
    return false;
}

static void after_fork_in_child(void) {
    heap_fork_child();
    if (_IO_list_resetlock) _IO_list_resetlock();
    own_pid = getpid();
    atomic_store(&farewell_said, false);
    lock_reset(&start_lock);
    service_fork_child();
    signals_fork_child();
    sites_fork_child();
    heap_typed_fork_child();
    share_fork_child();
    heap_thread_fork_child();
    heap_fork_child_alone();
    cleaner_fork_child();
    /* else when it has allocated a little: most children soon call exec, which begins anew */
    if (dump_triggers()->exit || dump_triggers()->interval_ns || device_in_use()) heap_settle_child();
    if (dump_triggers()->interval_ns) service_start(); /* a pool of workers is asked for its intervals too */
}

/* --- end */

static bool worth_keeping(void) {
    const char *stats = option_text(stats);
    return (stats && *stats) || device_in_use() || counters_host_totals(counters).bytes_allocated >= KEEP_FROM;
}

/* Async-signal-safe, once a process. */
static void farewell(void) {
    if (!coppice_on() || process_is_a_guest() || atomic_exchange(&farewell_said, true)) return;
    if (heap_thread.inside == 0) heap_thread_tell();
    bool dump = dump_triggers()->exit;
    if (dump) heap_settle_child();
    if (counter_get(&counters->pid) != (uint64_t)own_pid) return; /* a child whose counters were never opened */
    bool keep = worth_keeping() || sys_is_shut_in();
    if (dump || keep) heap_refresh_resident();
    if (dump) dump_write();
    counters_close(keep);
}

EXPORT void _exit(int status) {
    farewell();
    if (NEXT_READY(_exit)) next._exit(status);
    for (;;) syscall(SYS_exit_group, status);
}
EXPORT void _Exit(int status) { _exit(status); }

/* --- the object itself */

/* About once a second in a process that has the service thread. */
static uint64_t chore(void) {
    if (sys_is_shut_in()) return UINT64_C(1000000000);
    leftovers_chore(clock_ns());
    observe_look();
    return cleaner_turn();
}

__attribute__((constructor)) static void begin(void) {
    constructing = true;
    if (coppice_start() != MODE_ON) return;
    next_resolve();
    if (program_has_its_own()) {
        atomic_store(&coppice_mode_now, MODE_OFF);
        heap_thread.takes = heap_thread.gives = 0;
        counters_close(false);
        return;
    }
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    at_quick_exit(farewell);
    signals_start();
    sites_prime_host();
    service_chore(chore);
    if (option_number(intern) == INTERN_PAGES) heap_on_very_large = share_start;
    dump_before(heap_budget_show);
    control_start();
    if (option_number(intern) == INTERN_OBSERVE) observe_start(), heap_on_very_large = service_start;
    if (dump_triggers()->interval_ns) service_start();
}

__attribute__((destructor)) static void end(void) { farewell(); }
