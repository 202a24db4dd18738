/* service.c: the service thread; see service.h. It sleeps on a futex word in our own memory, because programs close
 * descriptors that they do not know. */
#include "stats/service.h"
#include "base/clock.h"
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
static void (*chore)(void);
static _Atomic uint32_t asked; /* goes up by one with each request */

/* Sleeps until `asked` is no longer `seen`, or the time has come. */
static void sleep_while(uint32_t seen, uint64_t until) {
    uint64_t now = clock_ns(), left = until > now ? until - now : 1;
    struct timespec time = { .tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u) };
    syscall(SYS_futex, &asked, FUTEX_WAIT_PRIVATE, seen, &time, NULL, 0);
}

static void *serve(void *argument) {
    const uint64_t interval = dump_triggers()->interval_ns;
    uint64_t dump_at = interval ? clock_ns() + interval : UINT64_MAX, chore_at = clock_ns() + CHORE_NS;
    uint32_t seen = 0;
    for (;;) {
        sleep_while(seen, dump_at < chore_at ? dump_at : chore_at);
        uint32_t request = atomic_load(&asked);
        uint64_t now = clock_ns();
        if (request != seen || now >= dump_at) dump_write();
        if (now >= dump_at) dump_at = now + interval;
        if (now >= chore_at && chore) chore();
        if (now >= chore_at) chore_at = now + CHORE_NS;
        seen = request;
    }
    return NULL;
}

void service_chore(void (*work)(void)) { chore = work; }

static bool start_thread(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited */
    int error = pthread_create(&thread, &attributes, serve, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0) pthread_setname_np(thread, "coppice");
    return error == 0;
}

void service_start(void) {
    bool expected = false;
    int saved = errno;
    if (atomic_compare_exchange_strong(&running, &expected, true) && !start_thread()) atomic_store(&running, false);
    errno = saved;
}

bool service_ask(void) {
    if (!atomic_load(&running)) return false;
    int saved = errno;
    atomic_fetch_add(&asked, 1);
    syscall(SYS_futex, &asked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
    return true;
}

void service_fork_child(void) {
    atomic_store(&running, false);
    atomic_store(&asked, 0);
}
