/* trace.h: every device allocation and free of the process in a file, when COPPICE_TRACE asks for it.
 *
 * An *event* is recorded where it happens, into a mapped block of the thread's *stripe*: a lock that no other thread
 * wants, the clock, about ten bytes; no system call. Every few thousand events a stripe takes a new block of the file.
 * Memory is bounded by a block a stripe, the file by TRACE_LIMIT. What is recorded is in the page cache at once, so it
 * outlives the process however it ends. A free's time is taken before it, an allocation's after it, so that by time no
 * address is handed out before it came back. A fork's child records nothing. */
#ifndef COPPICE_DEVICE_TRACE_H
#define COPPICE_DEVICE_TRACE_H
#include "base/clock.h"
#include "base/hints.h"
#include "device/trace_format.h"
#include <stdbool.h>

struct trace_event {
    enum trace_kind kind;
    unsigned flags, context; /* context: index in contexts[] */
    uint64_t time, address, size, extra;
};

/* Opens the file if the options name one; once, when the process first uses a device. */
void trace_start(void);
/* Is there a trace? Constant once started, but for a fork's child. */
extern _Atomic bool trace_on;
static inline bool trace_wanted(void) { return unlikely(atomic_load_explicit(&trace_on, memory_order_relaxed)); }
/* What is known of a context, before its first event. */
void trace_context(unsigned index, int device, uint64_t capacity);
void trace_write(const struct trace_event *event) COLD;
/* trace_event(.kind = …, …): recorded now, unless a time is given. */
#define trace_event(...) trace_write(&(struct trace_event){ __VA_ARGS__ })
void trace_fork_child(void);

/* --- trace_file.c, for trace.c: the file and its blocks; under trace.c's lock of the file */
bool trace_file_open(void);
uint64_t trace_file_base_ns(void);
/* A fresh block, mapped, or NULL: the limit is reached, the disk is full. The one before it is unmapped. */
struct trace_block *trace_file_block(struct trace_block *before);
void trace_file_dropped(void);
#endif
