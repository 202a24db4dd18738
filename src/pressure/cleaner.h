/* cleaner.h: who gives free memory back, and when.
 *
 * The *cleaner* takes turns on the service thread (stats/service.h), about once a second, ten times as often while memory
 * is getting tight. It takes no lock that a hit needs for longer than a hit does. In a turn
 *   - what has been free for the heap's decay time goes, in arenas that nobody uses too, and the large blocks that idle
 *     threads keep (heap/kept.h); where a device is idle, what
 *     demand is no longer worth (dtesn/demand.h)
 *   - pressure: of the host, what is free in the heap and the cached page-locked memory that is not in use just now; of a
 *     device, all of its cache that is not in use just now. When that brought
 *     little, the next time is later, up to a minute: who meets a limit for other reasons is not purged for ever
 *   - every CLEANUP_INTERVAL: the heap, if it keeps more than demand is worth, and interned contents above their age
 *   - a process that has done next to nothing for ten seconds gives its heap's free memory back, once
 * What it brought is counted: pressure.cleanups, .pressed, .bytes_released. */
#ifndef COPPICE_PRESSURE_CLEANER_H
#define COPPICE_PRESSURE_CLEANER_H
#include <stdbool.h>
#include <stdint.h>

/* One turn; returns the nanoseconds until the next. For one thread. */
uint64_t cleaner_turn(void);
/* In a fork's child: what was known is the parent's. */
void cleaner_fork_child(void);

/* When is pressure answered again? Pure. */
struct cleaner_patience { uint64_t wait_ns, next_ns; };
bool cleaner_may(const struct cleaner_patience *p, uint64_t now_ns);
/* It was answered, and that released so many bytes. */
void cleaner_did(struct cleaner_patience *p, uint64_t now_ns, uint64_t released);
#endif
