/* zeros.h: what the search for pages of zeros says of itself. */
#ifndef PROGRAM_ZEROS_H
#define PROGRAM_ZEROS_H
#include "program.h"

/* A number of `coppice stat`, -1 before there is one. Where the kernel does not permit the search there is nothing to test. */
static inline double statistic(const char *name) {
    static char text[65536];
    char command[128], key[64];
    snprintf(command, sizeof command, "LD_PRELOAD= build/coppice stat %d --json", getpid());
    FILE *f = popen(command, "r");
    CHECK(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    pclose(f);
    if (strstr(text, "\"zero_reclaim\":\"not permitted\"")) SKIP("the kernel does not let us take pages out of reach");
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(text, key);
    return at ? atof(at + strlen(key)) : -1;
}
#endif
