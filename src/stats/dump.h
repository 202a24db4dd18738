/* dump.h: counters as text or JSON, and the moments at which they are written.
 * A *dump* is one text made from the counters alone: no malloc, no lock, no CUDA call, so a signal handler and an exit
 * path can make it, and `coppice stat` makes the same one from a dead process's file. */
#ifndef COPPICE_STATS_DUMP_H
#define COPPICE_STATS_DUMP_H
#include "base/options.h"
#include "base/text.h"
#include "stats/counters.h"

/* Holds any dump, 32 devices, 17 trees, 192 calls and the sites that are shown with the worst names included. */
enum { DUMP_CAPACITY = 640 << 10 };

/* Writes `c` into `out`. `alive`: resident memory may be read from /proc for this pid. */
void dump_counters(const struct counters *c, enum stats_format format, bool alive, struct text *out);
/* Writes this process's statistics where STATS_FILE says, else to standard error while that is still the file it was.
 * A regular file is replaced whole (a new file beside it, then a rename); a device or pipe is written to for a second
 * at most. What goes wrong is said once. Async-signal-safe; a call that comes while another writes waits for a fifth of a second. */
void dump_write(void);
/* Called before each dump of this process's own, to bring what is published now and then up to date. Async-signal-safe. */
void dump_before(void (*work)(void));

/* What COPPICE_STATS asks for. */
struct dump_triggers {
    bool exit, signal;
    bool explicit_signal;  /* the variable was set: the program's own handler is chained, not respected by stepping aside */
    uint64_t interval_ns;  /* 0: none */
    int signal_number;     /* 0: none */
};
/* Parsed once from the options, by the first call, at start; a part that is not understood is logged in one line and
 * left out. Also settles where a relative STATS_FILE lies: the program may change its folder later. */
const struct dump_triggers *dump_triggers(void);

/* The parsers, for whoever checks a value before it is set. `text` as in COPPICE_STATS and COPPICE_SIGNAL.
 * Both return NULL when all of it is accepted, else the part that is not. */
const char *dump_parse_stats(const char *text, struct dump_triggers *triggers);
const char *dump_parse_signal(const char *text, int *number);
#define DUMP_STATS_ACCEPTS "exit, signal or an interval from 10ms such as 30s, joined by commas"
#define DUMP_SIGNAL_ACCEPTS "USR1, USR2, HUP, WINCH, URG, IO, PWR, PROF, VTALRM, XCPU, RTMIN+n, RTMAX-n or the number of one of them"
#endif
