/* fork_in_handler: a signal handler may fork while its thread is inside malloc (glibc's tst-mallocfork2 in our own words):
 * neither the parent nor the child, which leaves at once, hangs. */
#include "program.h"
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t forks, failures;

static void on_alarm(int n) {
    int saved = errno, status;
    pid_t child = fork();
    if (child == 0) _exit(3);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 3) failures++;
    forks++;
    errno = saved;
}

int main(void) {
    struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
    struct itimerval every = { { 0, 500 }, { 0, 500 } };
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    pid_t watch = fork();
    if (watch == 0) { /* a hang ends here: the parent is killed */
        sleep(40);
        kill(getppid(), SIGKILL);
        _exit(0);
    }
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    void *blocks[500] = { 0 };
    time_t end = time(NULL) + 6;
    for (unsigned i = 1; forks < 1500 && time(NULL) < end; i = i * 1103515245 + 12345) {
        unsigned at = i / 65536 % 500;
        free(blocks[at]);
        /* many sizes, so that the slow paths (and their locks) are taken often */
        blocks[at] = malloc(i / 7 % (i % 3 ? 2000 : 300000));
        CHECK(blocks[at]);
    }
    every = (struct itimerval){ 0 };
    setitimer(ITIMER_REAL, &every, NULL);
    kill(watch, SIGKILL);
    waitpid(watch, NULL, 0);
    printf("%d forks\n", (int)forks);
    CHECK(failures == 0 && forks > 50);
    return 0;
}
