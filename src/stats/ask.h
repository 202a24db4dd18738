/* ask.h: asking another process of ours through its counters file (control.h), from any process of the same user.
 * The file is somebody else's: it is read and written by pread and pwrite with sizes of ours and is never looked at
 * through a mapping, so whatever is in it, and whatever happens to it meanwhile, costs at most the wait. */
#ifndef COPPICE_STATS_ASK_H
#define COPPICE_STATS_ASK_H
#include "stats/counters.h"

struct ask {
    int fd;
    uint64_t pid, start_ticks, number, deadline_ns;
    bool listens; /* a thread waits for requests there */
};

/* Opens the counters file `name` in the open folder (AT_FDCWD: a path) of a process that runs. NULL, or what is wrong. */
const char *ask_open(struct ask *a, int folder, const char *name);
/* Reads `length` bytes of the other's counters at an offset; false when they cannot be had. */
bool ask_read(const struct ask *a, void *into, uint64_t length, uint64_t offset);
/* Makes the request, which is acted on until `deadline_ns`. BUSY: somebody else's request is before us; try again. */
enum ask_sent { ASK_SENT, ASK_BUSY, ASK_FAILED };
enum ask_sent ask_try(struct ask *a, struct control_request *request, uint64_t deadline_ns);
/* The same, for as long as others are before us and the deadline is not over. */
enum ask_sent ask_send(struct ask *a, struct control_request *request, uint64_t deadline_ns);
/* Is it answered? */
bool ask_answered(struct ask *a, struct control_answer *answer);
/* Waits for the answer until the deadline. NULL, or what is wrong. */
const char *ask_wait(struct ask *a, struct control_answer *answer);
void ask_close(struct ask *a);
#endif
