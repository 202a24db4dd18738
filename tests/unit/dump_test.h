/* dump_test.h: what the tests of dumps have in common: a folder of their own, and what is said on standard error. */
#ifndef COPPICE_UNIT_DUMP_TEST_H
#define COPPICE_UNIT_DUMP_TEST_H
#include "stats/dump.h"
#include "suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], file[128];

static void begin(void) {
    strcpy(folder, "/tmp/dump_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/stats", folder);
    setenv("COPPICE_STATE_DIR", folder, 1);
}

static void end(void) {
    char command[128];
    counters_close(false);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Runs `call` with standard error in a file; returns what was written there. */
static inline const char *said_by(void (*call)(void)) {
    static char said[4096];
    FILE *kept = tmpfile();
    int before = dup(2);
    dup2(fileno(kept), 2);
    call();
    dup2(before, 2), close(before);
    rewind(kept);
    said[fread(said, 1, sizeof said - 1, kept)] = 0;
    fclose(kept);
    return said;
}
#endif
