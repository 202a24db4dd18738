/* intern_test.h: what the tests of the interner's table have in common: a table of a size, contents by number, and a time. */
#ifndef COPPICE_UNIT_INTERN_TEST_H
#define COPPICE_UNIT_INTERN_TEST_H
#include "base/options.h"
#include "heap/heap.h"
#include "intern/slab.h"
#include "intern/table.h"
#include "stats/totals.h"
#include "coppice/coppice.h"
#include "suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define START (1000 * SECOND)

/* A table of at most so many entries. */
static inline void begin(const char *most) {
    setenv("COPPICE_INTERN_MAX_ENTRIES", most, 1);
    options_load();
    ck_assert(heap_init());
    ck_assert(intern_start());
}
static inline void valid(void) { ck_assert(intern_is_valid()); }

static inline struct intern_totals now_counted(void) { return intern_totals(counters); }

/* A content that is the text of a number. */
static inline const void *put_at(unsigned n, uint64_t now) {
    char text[32];
    int length = snprintf(text, sizeof text, "content number %u", n);
    return intern_content(&(struct intern_content){ text, (size_t)length, 0 }, now);
}
static inline const void *put(unsigned n) { return put_at(n, START); }
#endif
