/* signal_aside: with COPPICE_STATS unset SIGUSR1 dumps (to the file named here) only while the program leaves it alone; once it has a handler
 * or ignores it, we are not there.
 * env: COPPICE_STATS_FILE=build/tests/signal_aside.%p */
#include "program.h"

static volatile sig_atomic_t calls;
static void handler(int n) { calls++; }
static char path[100];

static int dumps(void) {
    unlink(path);
    kill(getpid(), SIGUSR1);
    return access(path, F_OK) == 0;
}

int main(void) {
    snprintf(path, sizeof path, "build/tests/signal_aside.%d", getpid());
    struct sigaction a = { .sa_handler = handler, .sa_flags = (int)SA_RESETHAND }, old;
    CHECK(dumps());
    CHECK(sigaction(SIGUSR1, &a, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(!dumps() && calls == 1);
    CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL); /* the kernel's own one-shot */
    CHECK(signal(SIGUSR1, SIG_IGN) == SIG_DFL && !dumps());
    CHECK(signal(SIGUSR1, SIG_DFL) == SIG_IGN && dumps());
    unlink(path);
    /* exec: whoever comes next starts with the default, and with what was ignored */
    signal(SIGUSR1, SIG_IGN);
    return WEXITSTATUS(system("grep -q '^SigIgn:.*[2367abef]..$' /proc/self/status"));
}
