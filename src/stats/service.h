/* service.h: the one thread of ours, which no process has until it needs it.
 * The *service thread* writes statistics: at each interval of COPPICE_STATS, and when a signal handler asks; and it
 * answers what other processes ask (control.h). All signals are blocked in it; a fork's child has its own if an interval
 * asks for it. A process that has it also gets its memory cleaned up (service_chore). It is started in the constructor for
 * an interval, else when a device is first used or when a process with threads of its own has become large: an
 * ordinary process stays single-threaded, because fork, unshare and setns behave otherwise in one with threads. */
#ifndef COPPICE_STATS_SERVICE_H
#define COPPICE_STATS_SERVICE_H
#include <stdbool.h>
#include <stdint.h>

/* Another thread of ours, with all signals blocked; nobody waits for its end. False: there is none. */
bool service_thread(void *(*work)(void *), const char *name);
/* What the thread does besides, if it runs: a chore returns the nanoseconds until it wants to be called again. Set it
 * before the thread is started. */
void service_chore(uint64_t (*chore)(void));
/* Starts the thread unless it runs. May allocate; not for signal handlers. */
void service_start(void);
/* Asks for a dump. False when there is no thread: then the caller makes the dump itself. Async-signal-safe. */
bool service_ask(void);
bool service_runs(void);
/* In a fork's child: the thread stayed behind. */
void service_fork_child(void);
#endif
