/* dump.h: counters as text or JSON, and the moments at which they are written.
 * A *dump* is one text made from the counters alone: no malloc, no lock, no CUDA call, so a signal handler and an exit
 * path can make it, and `coppice stat` makes the same one from a dead process's file. */
#ifndef COPPICE_STATS_DUMP_H
#define COPPICE_STATS_DUMP_H
#include "base/options.h"
#include "base/text.h"
#include "stats/counters.h"

/* Writes `c` into `out`. `alive`: resident memory may be read from /proc for this pid. */
void dump_counters(const struct counters *c, enum stats_format format, bool alive, struct text *out);
/* Writes this process's statistics where STATS_FILE says (atomically replaced; standard error otherwise, and only while
 * that is still the file it was). Async-signal-safe; concurrent calls: one writes, the others return. */
void dump_write(void);

/* What COPPICE_STATS asks for. */
struct dump_triggers {
    bool exit, signal;
    bool explicit_signal;  /* the variable was set: the program's own handler is chained, not respected by stepping aside */
    uint64_t interval_ns;  /* 0: none */
    int signal_number;     /* 0: none */
};
/* Parsed once from the options; a part that is not understood is logged in one line and left out. */
const struct dump_triggers *dump_triggers(void);
#endif
