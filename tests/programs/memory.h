/* memory.h: what the kernel says that this process has. */
#ifndef PROGRAM_MEMORY_H
#define PROGRAM_MEMORY_H
#include "program.h"

/* Bytes of address space, and of it resident. */
struct taken { long space, resident; };
static inline struct taken taken(void) {
    struct taken t = { 0 };
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%ld %ld", &t.space, &t.resident) == 2);
    fclose(f);
    long page = sysconf(_SC_PAGESIZE);
    return (struct taken){ t.space * page, t.resident * page };
}

/* "Anonymous", "AnonHugePages", … over all mappings. */
static inline long mapped_kib(const char *what) {
    char line[256];
    long kib = -1;
    size_t length = strlen(what);
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, what, length) == 0 && line[length] == ':') kib = atol(line + length + 1);
    fclose(f);
    CHECK(kib >= 0);
    return kib;
}
#endif
