/* replay.h: coppice-replay: the device pool driven by a recorded trace.
 *
 * A *trace* (device/trace_format.h) is read whole into *events*, in the order of time. *Driving* it asks the pool for what
 * the program had asked, and frees what it had freed, on a device of this machine; the pool, its fences and its counters are the
 * library's own objects. A *report* is what came of it. Whatever bytes a file holds, reading it ends in events or in one line
 * that says what is wrong. One thread. */
#ifndef COPPICE_REPLAY_REPLAY_H
#define COPPICE_REPLAY_REPLAY_H
#include "tool/tool.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event {
    int64_t time;  /* ns since the trace began */
    uint64_t address, size;
    uint32_t order; /* in which it was read: for events of one time */
    uint8_t kind, flags, context;
    uint8_t device;
};
struct trace {
    struct event *event;
    size_t count, room;
    uint64_t dropped; /* events that the writer had no room for */
    char command[257];
    char wrong[160]; /* "" or why it cannot be used */
};
/* False: `wrong` says why. */
bool trace_read(const char *path, struct trace *trace);

struct drive_options {
    const char *library; /* the CUDA driver's name or path */
    int device;          /* to which device 0 of the trace is mapped */
    bool pace;           /* at the recorded times */
    bool work;           /* each new allocation is written to by the device */
    bool sync;           /* replay the program's waits for the device */
};
struct report {
    uint64_t allocs, frees;                 /* done here */
    uint64_t failed, unknown_frees, others; /* refused by the device; of nothing that is live; only counted */
    uint64_t hits, misses, driver_allocs, driver_frees, fences, fence_waits, oom_recoveries;
    uint64_t peak_live, peak_reserved, live, reserved, driver_calls, memory_calls;
    bool driver_calls_known; /* the simulated device counts every call, and those that take, map or give back memory */
    double seconds;
};
/* NULL, or why it could not be driven. */
const char *drive(const struct trace *trace, const struct drive_options *options, struct report *report);

/* Makes a trace of a PyTorch snapshot by the Python tool beside this program; 0 or an exit status, said. */
int snapshot_convert(const char *snapshot, const char *out);
#endif
