/* control.h: what another process may ask of this one through its counters file.
 *
 * A *request* is written into the `control` part of the process's counters file by `coppice trim`, `coppice set` or a
 * co-tenant (ask.h); the file's mode, 0600, says who may. Requesters take turns by a lock on the file (flock), which the
 * kernel takes back when one dies. The *number* is raised last; the process answers and then sets `answered` to it.
 * After its *deadline* a request is not acted on: whoever asked has gone. The *bell* is a futex: it changes with each
 * request, and the service thread sleeps on it. A process without that thread (it has not used the device) looks
 * every thousand allocations or so.
 *
 *     requester: request, number, bell, wake ─► service thread: act, answer, answered ─► requester polls `answered`
 *
 * Nothing in it is believed: a verb that does not exist is refused, texts end where their room ends. */
#ifndef COPPICE_STATS_CONTROL_H
#define COPPICE_STATS_CONTROL_H
#include "base/options.h"
#include "stats/counters.h"

/* What a process does when asked. Each fills the answer; `device_too`: called by the service thread, so CUDA may be used. */
struct control_acts {
    void (*trim)(const struct control_request *request, struct control_answer *answer, bool device_too);
    void (*option_changed)(int id);
};
void control_acts_are(struct control_acts acts);

/* Is there a request that has no answer yet? Two loads. */
static inline bool control_is_asked(void) {
    const struct control *c = &counters->control;
    return counter_get(&c->number) != counter_get(&c->answered);
}
/* Answers it. One thread at a time; others return at once. Not in a child that still shares its parent's counters. */
void control_serve(bool device_too);
void control_fork_child(void);

/* Is `text` NAME=VALUE with a value that may be set in a running process? Else `why` says what is wrong and what is accepted. */
bool control_parse_set(const char *text, int *id, union option_value *value, char why[CONTROL_TEXT]);
/* Nanoseconds of CLOCK_BOOTTIME, the same in all processes of the machine: what deadlines are in. */
uint64_t control_clock_ns(void);
#endif
