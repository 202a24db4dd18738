/* senses.h: how tight memory is, as seen from this process.
 *
 * A *sense* compares something with its limit, or counts trouble that has already happened:
 *   own      the heap's memory, live and cached, with what this process may have
 *   group    each memory control group that bounds us: use without file cache that can go, with its limit (memory.high,
 *            memory.max; version 1: memory.limit_in_bytes); and how often the limit was met (memory.events, failcnt)
 *   machine  the machine's memory that is not available, with all of it
 *   stall    time that tasks of our group, or of the machine, wait for memory (PSI)
 *   device   a device's memory that is not free, with all of it
 * EMBODIED=0 leaves only what our own counters say: own, and device by what this process has reserved.
 * A sense whose files are not there is absent, and nothing is said about it. Nothing is kept open: programs close
 * descriptors that they do not know, and reuse the numbers. So triggers that need one (PSI's, version 1's eventfd) are not
 * used; the counts behind them are compared instead, up to ten times a second when memory is getting tight.
 *
 * The *level* is the worst of all senses: none; some, above COPPICE_PRESSURE of a limit; high, half of what is left above
 * that, or trouble has happened since the last look. */
#ifndef COPPICE_PRESSURE_SENSES_H
#define COPPICE_PRESSURE_SENSES_H
#include "stats/counters.h"

struct senses_reading {
    enum pressure_level host, device; /* what can be done about it is different */
    enum pressure_level level;        /* the worse of both, and who says so */
    enum pressure_source source;
    uint64_t fullness; /* thousandths of the limit, of the fullest sense; may be above 1000 */
};

/* Looks with every sense. One thread at a time. Calls no CUDA; opens and closes files. */
struct senses_reading senses_look(uint64_t now_ns);
/* In a fork's child: it may be in another group soon, and its counts begin anew. */
void senses_forget(void);

/* --- for tests */
/* Level of `fullness` thousandths when `threshold` thousandths are tight. */
enum pressure_level senses_level(uint64_t fullness, uint64_t threshold);
/* Where files are looked for, instead of "": a folder that holds proc and the mount points. */
void senses_root(const char *prefix);
#endif
