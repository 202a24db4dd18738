/* signal_program: with COPPICE_STATS=signal the program's own use of SIGUSR1 is as without us, and each signal that it does not ignore
 * makes a dump: handlers before and after, SIG_IGN, mask, flags, one-shot handlers, signal(2) and its variants.
 * env: COPPICE_STATS=signal
 * env: COPPICE_STATS_FILE=build/tests/signal_program.%p */
#include "program.h"
#include <pthread.h>
#include <sys/stat.h>

static volatile sig_atomic_t calls, last_pid, usr2_blocked, itself_blocked;

static void plain(int n) { calls += n == SIGUSR1; }
static void with_information(int n, siginfo_t *i, void *u) {
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    usr2_blocked = sigismember(&now, SIGUSR2), itself_blocked = sigismember(&now, SIGUSR1);
    last_pid = i->si_pid;
    calls += u != NULL;
}

static char path[100];

/* Sends the signal; does the handler run `more` times, and does a dump appear? */
static void send(int more, int dumps) {
    int before = calls;
    unlink(path);
    kill(getpid(), SIGUSR1);
    CHECK(calls == before + more);
    CHECK((access(path, F_OK) == 0) == dumps);
}

static void set(void (*h)(int), int flags, int mask) {
    struct sigaction a = { .sa_handler = h, .sa_flags = flags };
    if (mask) sigaddset(&a.sa_mask, mask);
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
}

static struct sigaction get(void) {
    struct sigaction a;
    CHECK(sigaction(SIGUSR1, NULL, &a) == 0);
    return a;
}

static int masks(int n) {
    struct sigaction a = get();
    return sigismember(&a.sa_mask, n);
}

static void child_of_vfork(void) {
    set(plain, 0, 0);
    pid_t child = vfork();
    if (child == 0) {
        signal(SIGUSR1, SIG_DFL); /* its own table, our memory */
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK(get().sa_handler == plain);
    send(1, 1);
}

int main(void) {
    snprintf(path, sizeof path, "build/tests/signal_program.%d", getpid());
    CHECK(get().sa_handler == SIG_DFL && get().sa_flags == 0); /* ours is not seen */
    send(0, 1);

    set(plain, SA_RESTART, SIGUSR2);
    CHECK(get().sa_handler == plain && (get().sa_flags & SA_RESTART) && !(get().sa_flags & SA_SIGINFO) && masks(SIGUSR2));
    send(1, 1);

    struct sigaction a = { .sa_sigaction = with_information, .sa_flags = SA_SIGINFO | SA_NODEFER }, old;
    sigaddset(&a.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGUSR1, &a, &old) == 0 && old.sa_handler == plain);
    send(1, 1);
    CHECK(last_pid == getpid() && usr2_blocked == 1 && itself_blocked == 0);
    a.sa_flags = SA_SIGINFO, sigemptyset(&a.sa_mask);
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
    send(1, 1);
    CHECK(usr2_blocked == 0 && itself_blocked == 1);

    set(plain, (int)SA_RESETHAND, 0);
    send(1, 1);
    CHECK(get().sa_handler == SIG_DFL);
    send(0, 1);

    set(SIG_IGN, 0, 0);
    CHECK(get().sa_handler == SIG_IGN);
    send(0, 0);
    set(SIG_DFL, 0, 0);
    send(0, 1);

    CHECK(signal(SIGUSR1, plain) == SIG_DFL && (get().sa_flags & SA_RESTART) && masks(SIGUSR1));
    send(1, 1);
    CHECK(siginterrupt(SIGUSR1, 1) == 0 && !(get().sa_flags & SA_RESTART) && get().sa_handler == plain);
    CHECK(signal(SIGUSR1, SIG_DFL) == plain && !(get().sa_flags & SA_RESTART));
    CHECK(siginterrupt(SIGUSR1, 0) == 0);
    CHECK(__sysv_signal(SIGUSR1, plain) == SIG_DFL);
    send(1, 1);
    CHECK(get().sa_handler == SIG_DFL); /* System V: one shot */
    CHECK(ssignal(SIGUSR1, plain) == SIG_DFL);
    CHECK(signal(SIGUSR1, SIG_ERR) == SIG_ERR && errno == EINVAL && get().sa_handler == plain);
    CHECK(sigaction(SIGUSR1, NULL, NULL) == 0 && sigaction(SIGKILL, &a, NULL) == -1 && errno == EINVAL);

    child_of_vfork();
    IN_CHILD(snprintf(path, sizeof path, "build/tests/signal_program.%d", getpid()); send(1, 1); unlink(path));
    unlink(path);
    return 0;
}
