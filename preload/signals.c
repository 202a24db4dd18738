/* signals.c: the signal that asks for statistics, and the program's own use of it.
 *
 * The *watched* signal is COPPICE_SIGNAL's. Its *view* is what the program believes to have installed; what the kernel has
 * is made from it:
 *   the program ignores it        the same: the signal stays ignored
 *   the program leaves it alone   our handler, which asks for a dump
 *   the program has a handler     COPPICE_STATS unset: the same, we step aside
 *                                 COPPICE_STATS names `signal`: our handler with the program's mask and flags; it calls
 *                                 the program's, then asks for a dump. SA_RESETHAND is done by us
 * Every function that installs handlers is hooked, so the view is kept whoever comes first, and reported as the old action.
 * An action of a vfork's child goes to the kernel alone: the view is its parent's. exec resets handlers by itself.
 * Views lie in a ring: a handler reads the newest without a lock while another thread writes the next. */
#include "process.h"
#include "base/lock.h"
#include "heap/thread.h"
#include "next.h"
#include "stats/dump.h"
#include "stats/service.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { VIEWS = 32 };
static int watched; /* 0: none; set once, by the constructor */
static bool chained;
static struct sigaction views[VIEWS];
static _Atomic unsigned view_number;
static struct lock view_lock = LOCK_INIT(RANK_SIGNALS);
static bool interrupting; /* siginterrupt(watched, 1) was called: signal() installs without SA_RESTART */

static struct sigaction view(void) { return views[atomic_load(&view_number) % VIEWS]; }

static void set_view(const struct sigaction *action) {
    unsigned n = atomic_load(&view_number) + 1;
    views[n % VIEWS] = *action;
    atomic_store(&view_number, n);
}

/* --- our handler */

static void call_program(int number, siginfo_t *information, void *context) {
    struct sigaction action = view();
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) return;
    if (action.sa_flags & SA_RESETHAND) {
        struct sigaction reset = action;
        reset.sa_handler = SIG_DFL;
        set_view(&reset);
    }
    if (action.sa_flags & SA_SIGINFO) action.sa_sigaction(number, information, context);
    else action.sa_handler(number);
}

static void on_signal(int number, siginfo_t *information, void *context) {
    call_program(number, information, context);
    if (process_is_a_guest() || service_ask()) return;
    int saved = errno;
    heap_settle_child();
    dump_write();
    errno = saved;
}

/* --- what the kernel gets */

static struct sigaction kernel_action(const struct sigaction *wanted) {
    struct sigaction action = *wanted;
    if (wanted->sa_handler == SIG_IGN) return action;
    if (wanted->sa_handler == SIG_DFL) {
        action.sa_flags = SA_RESTART | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
    } else if (!chained) return action;
    action.sa_flags = (action.sa_flags & ~SA_RESETHAND) | SA_SIGINFO;
    action.sa_sigaction = on_signal;
    return action;
}

/* What the program would see installed now. */
static int current_action(struct sigaction *action) {
    int error = next.sigaction(watched, NULL, action);
    if (error == 0 && action->sa_sigaction == on_signal) *action = view();
    return error;
}

static int install(const struct sigaction *wanted) {
    struct sigaction action = kernel_action(wanted), before = view();
    set_view(wanted); /* first: our handler may run at once */
    int error = next.sigaction(watched, &action, NULL);
    if (error) set_view(&before);
    return error;
}

/* sigaction for the watched signal. A handler may call it too, so signals are blocked while the lock is held. */
static int watched_action(const struct sigaction *wanted, struct sigaction *old) {
    struct sigaction before;
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    bool guest = process_is_a_guest();
    if (!guest) lock_take(&view_lock);
    int error = current_action(&before);
    if (!error && wanted) error = guest ? next.sigaction(watched, wanted, NULL) : install(wanted);
    if (!guest) lock_release(&view_lock);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (!error && old) *old = before;
    return error;
}

/* --- the functions that programs call */

static inline bool is_watched(int number) { return unlikely(number == watched) && number != 0; }

static int unknown(void) {
    errno = ENOSYS;
    return -1;
}

static int own_sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (is_watched(number)) return watched_action(action, old);
    return NEXT_READY(sigaction) ? next.sigaction(number, action, old) : unknown();
}

/* The old handler, or SIG_ERR. */
static handler watched_handler(handler new, int flags, bool block_itself) {
    struct sigaction action = { .sa_handler = new, .sa_flags = flags }, old;
    if (new == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    sigemptyset(&action.sa_mask);
    if (block_itself) sigaddset(&action.sa_mask, watched);
    return watched_action(&action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

static handler own_signal(int number, handler new) {
    if (is_watched(number)) return watched_handler(new, interrupting ? 0 : SA_RESTART, true);
    return NEXT_READY(signal) ? next.signal(number, new) : (unknown(), SIG_ERR);
}

static handler own_sysv_signal(int number, handler new) {
    if (is_watched(number)) return watched_handler(new, (int)(SA_RESETHAND | SA_NODEFER | 0x20000000 /* SA_INTERRUPT */), false);
    return NEXT_READY(sysv_signal) ? next.sysv_signal(number, new) : (unknown(), SIG_ERR);
}

/* System V's: SIG_HOLD blocks the signal; anything else installs and unblocks; the answer is SIG_HOLD if it was blocked. */
static handler watched_sigset(handler new) {
    struct sigaction old;
    sigset_t itself, mask;
    sigemptyset(&itself);
    sigaddset(&itself, watched);
    if (new == SIG_HOLD) {
        if (pthread_sigmask(SIG_BLOCK, &itself, &mask) != 0 || watched_action(NULL, &old) != 0) return SIG_ERR;
        return sigismember(&mask, watched) ? SIG_HOLD : old.sa_handler;
    }
    handler before = watched_handler(new, 0, false);
    if (before == SIG_ERR || pthread_sigmask(SIG_UNBLOCK, &itself, &mask) != 0) return SIG_ERR;
    return sigismember(&mask, watched) ? SIG_HOLD : before;
}

EXPORT handler sigset(int number, handler new) {
    if (is_watched(number)) return watched_sigset(new);
    return NEXT_READY(sigset) ? next.sigset(number, new) : (unknown(), SIG_ERR);
}

EXPORT int sigignore(int number) {
    if (is_watched(number)) return watched_handler(SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
    return NEXT_READY(sigignore) ? next.sigignore(number) : unknown();
}

EXPORT int siginterrupt(int number, int flag) {
    if (!is_watched(number)) return NEXT_READY(siginterrupt) ? next.siginterrupt(number, flag) : unknown();
    struct sigaction action;
    if (watched_action(NULL, &action) != 0) return -1;
    interrupting = flag != 0;
    action.sa_flags = flag ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
    return watched_action(&action, NULL);
}

/* Names of the same functions. */
#define NAMED(own) __attribute__((alias(#own), visibility("default")))
int sigaction(int number, const struct sigaction *action, struct sigaction *old) NAMED(own_sigaction);
int __sigaction(int number, const struct sigaction *action, struct sigaction *old) NAMED(own_sigaction);
handler signal(int number, handler new) NAMED(own_signal);
handler bsd_signal(int number, handler new) NAMED(own_signal);
handler ssignal(int number, handler new) NAMED(own_signal);
handler sysv_signal(int number, handler new) NAMED(own_sysv_signal);
handler __sysv_signal(int number, handler new) NAMED(own_sysv_signal);

/* --- start and fork */

void signals_start(void) {
    const struct dump_triggers *triggers = dump_triggers();
    struct sigaction now;
    if (!triggers->signal || triggers->signal_number <= 0 || !next.sigaction) return;
    if (next.sigaction(triggers->signal_number, NULL, &now) != 0) return;
    chained = triggers->explicit_signal;
    watched = triggers->signal_number;
    watched_action(&now, NULL);
}

void signals_fork_child(void) { lock_reset(&view_lock); }
