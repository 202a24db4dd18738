/* alive.c: /proc/pid/stat; see alive.h. */
#include "stats/alive.h"
#include "base/sys.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool process_start(uint64_t pid, uint64_t *ticks) {
    char path[64], stat[1024], state;
    snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    if (sys_read_file(path, stat, sizeof stat) <= 0) return false;
    const char *at = strrchr(stat, ')'); /* the name before it may hold anything */
    unsigned long long start;
    if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state, &start) != 2) return false;
    *ticks = start;
    return state != 'Z' && state != 'X';
}

bool process_is_alive(uint64_t pid, uint64_t start_ticks) {
    uint64_t ticks;
    return process_start(pid, &ticks) && ticks == start_ticks;
}

uint64_t process_namespace(void) {
    struct stat s;
    return stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
}
