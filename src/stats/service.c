/* service.c: the service thread; see service.h. It sleeps on the bell, a futex word in the counters, because programs close
 * descriptors that they do not know; whoever wants something says what, then changes the bell, then wakes. */
#include "stats/service.h"
#include "base/clock.h"
#include "stats/control.h"
#include "stats/dump.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 256 << 10 };
#define CHORE_NS 1000000000u

static _Atomic bool running;
static uint64_t (*chore)(void);
static _Atomic uint32_t asked; /* goes up by one with each request */

/* Sleeps until the bell is no longer `seen`, or the time has come. */
static void sleep_while(uint32_t seen, uint64_t until) {
    uint64_t now = clock_ns(), left = until > now ? until - now : 1;
    struct timespec time = { .tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u) };
    syscall(SYS_futex, &counters->control.bell, FUTEX_WAIT, seen, &time, NULL, 0);
}

static void *serve(void *argument) {
    if (counter_get(&counters->pid) == (uint64_t)getpid()) atomic_store(&counters->control.listens, 1);
    const uint64_t interval = dump_triggers()->interval_ns;
    uint64_t dump_at = interval ? clock_ns() + interval : UINT64_MAX, chore_at = clock_ns() + CHORE_NS;
    uint32_t done = 0;
    for (;;) {
        uint32_t bell = atomic_load(&counters->control.bell), request = atomic_load(&asked);
        uint64_t now = clock_ns();
        if (request != done || now >= dump_at) dump_write();
        done = request;
        control_serve(true);
        if (now >= dump_at) dump_at = now + interval;
        if (now >= chore_at) chore_at = now + (chore ? chore() : CHORE_NS);
        sleep_while(bell, dump_at < chore_at ? dump_at : chore_at);
    }
    return NULL;
}

void service_chore(uint64_t (*work)(void)) { chore = work; }

bool service_thread(void *(*work)(void *), const char *name) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited */
    int error = pthread_create(&thread, &attributes, work, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0) pthread_setname_np(thread, name);
    return error == 0;
}

void service_start(void) {
    bool expected = false;
    int saved = errno;
    if (atomic_compare_exchange_strong(&running, &expected, true) && !service_thread(serve, "coppice")) atomic_store(&running, false);
    errno = saved;
}

bool service_ask(void) {
    if (!atomic_load(&running)) return false;
    int saved = errno;
    atomic_fetch_add(&asked, 1);
    atomic_fetch_add(&counters->control.bell, 1);
    syscall(SYS_futex, &counters->control.bell, FUTEX_WAKE, 1, NULL, NULL, 0);
    errno = saved;
    return true;
}

void service_fork_child(void) {
    atomic_store(&running, false);
    atomic_store(&asked, 0);
    control_fork_child();
}

bool service_runs(void) { return atomic_load_explicit(&running, memory_order_relaxed); }
