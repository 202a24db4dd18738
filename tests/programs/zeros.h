/* zeros.h: what the search for pages of zeros says of itself. */
#ifndef PROGRAM_ZEROS_H
#define PROGRAM_ZEROS_H
#include "statistic.h"

/* A number of `coppice stat`, -1 before there is one. Where the kernel does not permit the search there is nothing to test. */
static inline double statistic(const char *name) {
    const char *text = statistics();
    if (strstr(text, "\"zero_reclaim\":\"not permitted\"")) SKIP("the kernel does not let us take pages out of reach");
    return number_in(text, name);
}
#endif
