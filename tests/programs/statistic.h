/* statistic.h: what `coppice stat` says of this process. */
#ifndef PROGRAM_STATISTIC_H
#define PROGRAM_STATISTIC_H
#include "program.h"

static inline const char *statistics(void) {
    static char text[65536];
    char command[128];
    snprintf(command, sizeof command, "LD_PRELOAD= build/coppice stat %d --json", getpid());
    FILE *f = popen(command, "r");
    CHECK(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    pclose(f);
    return text;
}

/* A number of it, -1 before there is one. */
static inline double number_in(const char *text, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(text, key);
    return at ? atof(at + strlen(key)) : -1;
}
#endif
