/* environment_is_kept: a program that overwrites its environment (to change its title) or clears it does not change our options.
 * env: COPPICE_STATS=signal
 * env: COPPICE_STATS_FILE=build/tests/environment_is_kept.%p */
#include "program.h"

extern char **environ;

int main(void) {
    char path[100];
    snprintf(path, sizeof path, "build/tests/environment_is_kept.%d", getpid());
    for (char **variable = environ; *variable; variable++) memset(*variable, 'x', strlen(*variable));
    kill(getpid(), SIGUSR1);
    CHECK(access(path, F_OK) == 0);
    unlink(path);
    clearenv();
    kill(getpid(), SIGUSR1);
    CHECK(access(path, F_OK) == 0);
    unlink(path);
    return 0;
}
