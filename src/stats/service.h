/* service.h: the one thread of ours, which no process has until it needs it.
 * The *service thread* writes statistics: at each interval of COPPICE_STATS, and when a signal handler asks; and it
 * answers what other processes ask (control.h). All signals
 * are blocked in it; a fork's child has its own if an interval asks for it. A process that has it also gets its idle memory decayed (service_chore). It is started in the constructor for an interval, else when a device is first used: an
 * ordinary process stays single-threaded, because fork, unshare and setns behave otherwise in one with threads. */
#ifndef COPPICE_STATS_SERVICE_H
#define COPPICE_STATS_SERVICE_H
#include <stdbool.h>

/* Another thread of ours, with all signals blocked; nobody waits for its end. False: there is none. */
bool service_thread(void *(*work)(void *), const char *name);
/* What the thread does about once a second besides, if it runs; set it before it is started. */
void service_chore(void (*chore)(void));
/* Starts the thread unless it runs. May allocate; not for signal handlers. */
void service_start(void);
/* Asks for a dump. False when there is no thread: then the caller makes the dump itself. Async-signal-safe. */
bool service_ask(void);
bool service_runs(void);
/* In a fork's child: the thread stayed behind. */
void service_fork_child(void);
#endif
