/* trace_format.h: the bytes of a trace file; docs/TRACE.md says the same in prose.
 *
 * A *trace* is a file of *blocks* of TRACE_BLOCK bytes. Block 0 is the head. Every other block is a run of *records*,
 * written by the threads of one *stripe* in the order in which they came; blocks of a stripe lie in the file in that
 * order. A block can be read by itself: what records are relative to begins anew in it. Everything is little-endian.
 *
 * A record is a byte (kind, four flags above it), the time as a zigzag varint (ns since the record before it, the block's
 * `base_ns` for the first), then the fields of its kind in the order address, size, extra: the address as a zigzag varint
 * relative to the last one in the block, the others as varints. A thread and a context hold until the next such record. */
#ifndef COPPICE_DEVICE_TRACE_FORMAT_H
#define COPPICE_DEVICE_TRACE_FORMAT_H
#include <stdatomic.h>
#include <stdint.h>

#define TRACE_MAGIC "COPTRACE"
#define TRACE_BLOCK_MAGIC 0x314b4c42u /* "BLK1" */
enum { TRACE_VERSION = 1, TRACE_BLOCK = 65536, TRACE_RECORD_MOST = 64 };

enum { TRACE_ADDRESS = 1, TRACE_SIZE = 2, TRACE_EXTRA = 4 };
/* TRACE_KIND(NAME, number, fields, meaning) */
#define TRACE_KINDS(X) \
    X(ALLOC, 1, TRACE_ADDRESS | TRACE_SIZE, "an allocation: flags layer, miss") \
    X(FREE, 2, TRACE_ADDRESS, "a free: flags layer, and whether the driver has it now, refused it, or never lent it to us") \
    X(FAIL, 3, TRACE_SIZE | TRACE_EXTRA, "an allocation that failed; extra is the CUresult") \
    X(RELEASE, 4, TRACE_ADDRESS | TRACE_SIZE, "the pool gave a cached block back to the driver") \
    X(SYNC, 5, 0, "the program waited for all work of a context") \
    X(WAIT, 6, TRACE_SIZE | TRACE_EXTRA, "a request of `size` bytes waited for a fence; extra is ns") \
    X(THREAD, 7, TRACE_EXTRA, "the records that follow are of this thread") \
    X(CONTEXT, 8, TRACE_SIZE | TRACE_EXTRA, "and in this context: size is the device's capacity, extra is index + 256 * device") \
    X(OTHER, 9, TRACE_ADDRESS | TRACE_SIZE | TRACE_EXTRA, "memory that the pool does not own; flags: enum trace_other")
enum trace_kind {
#define X(name, number, fields, meaning) TRACE_##name = number,
    TRACE_KINDS(X)
#undef X
    TRACE_KIND_COUNT
};
/* Flags of ALLOC and FREE. */
enum { TRACE_RUNTIME = 1, TRACE_MISS = 2, TRACE_DRIVER = 2, TRACE_REFUSED = 4, TRACE_FOREIGN = 8 };
/* Flags of OTHER: the call. `extra`: the stream, or the handle of the mapped memory. */
enum trace_other {
    OTHER_STREAM_ALLOC, OTHER_STREAM_FREE, OTHER_MANAGED, OTHER_HOST_ALLOC, OTHER_HOST_FREE,
    OTHER_PAGES_CREATE, OTHER_PAGES_RELEASE, OTHER_PAGES_MAP, OTHER_PAGES_UNMAP, OTHER_COUNT
};

struct trace_head {
    char magic[8];
    uint32_t version, block_bytes;
    uint64_t pid, start_ticks, pid_namespace; /* who wrote it; as in the counters file */
    uint64_t realtime_ns, monotonic_ns;       /* one moment by two clocks; records count from it */
    _Atomic uint64_t dropped;                 /* events that found no room in the file */
    char command[256];
};
struct trace_block {
    uint32_t magic, stripe;
    uint64_t base_ns;
    _Atomic uint32_t used; /* bytes of the block that are whole records, this head included */
    uint32_t reserved;
};
#endif
