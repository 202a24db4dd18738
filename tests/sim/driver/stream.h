/* stream.h: queues of work, and points in them.
 *
 * operation  one thing that a stream does: a copy, a fill, a kernel, a host function, an event's timestamp.
 * mark       a point in a stream: (stream, sequence number), passed when the stream has completed that number.
 * record     what an event remembers: a set of marks and a timestamp. Each recording makes a new record, so that whoever waits
 *            for the event waits for the recording that it saw. Shared by reference count.
 *
 * A stream's numbers only grow. An operation starts when its predecessor in the stream and all its marks have passed.
 * The legacy stream's operations carry marks of all blocking streams, and theirs carry the legacy stream's. */
#ifndef SIM_STREAM_H
#define SIM_STREAM_H
#include "sim.h"

struct mark { CUstream stream; u64 sequence; };      /* holds a reference */

struct record {
    _Atomic int refs;
    _Atomic u64 time;                    /* ns; 0 until passed */
    int count;
    struct mark marks[];
};

struct operation {
    struct operation *next;
    u64 sequence;
    CUcontext context;
    void (*run)(struct operation *);
    void (*drop)(struct operation *);    /* releases what it holds; may be NULL */
    bool even_after_fault;               /* host functions and timestamps complete even in a broken context? see stream.c */
    int mark_count, mark_room;
    struct mark *marks;
    struct mark few[4];
    u64 body[32];                        /* the operation's own data */
};
#define BODY(type, operation) ((type *)(void *)(operation)->body)

struct capture;
struct CUstream_st {
    struct object object;
    _Atomic int refs;
    CUcontext context;
    CUstream next_in_context;            /* guarded by order_lock */
    unsigned flags;
    int priority;
    bool legacy, per_thread, destroyed, worker_started, listed;
    u64 id;
    pthread_mutex_t lock;
    pthread_cond_t work, progress;
    struct operation *head, *tail;
    bool running;
    u64 submitted;
    _Atomic u64 completed;
    int waiters;
    bool explored;                       /* the schedule explorer delays it, with this state: */
    u64 random;
    struct capture *capture;             /* guarded by the capture lock (capture.c) */
    struct capture_tail *tails;
    int synchronization_policy;
};

enum { SUBMIT_PLAIN = 0, SUBMIT_INLINE_IF_IDLE = 1 };

struct operation *operation_new(CUcontext context, void (*run)(struct operation *));
void operation_after(struct operation *operation, struct mark mark);         /* takes a new reference */
void operation_after_record(struct operation *operation, const struct record *record);
/* Hands the operation to the stream; returns its sequence number. */
u64 stream_submit(CUstream stream, struct operation *operation, int how);
CUresult stream_resolve(CUstream handle, CUstream *out);     /* 0, 1, 2 and real handles; checks the context */
CUresult stream_resolve_in(CUcontext context, CUstream handle, CUstream *out);
CUstream stream_make(CUcontext context, unsigned flags, int priority);
void stream_destroy(CUstream stream);
void stream_ref(CUstream stream);
void stream_unref(CUstream stream);
void stream_wait(CUstream stream, u64 sequence);
void stream_synchronize(CUstream stream);                    /* legacy: also all blocking streams */
bool stream_idle(CUstream stream);
static inline bool mark_passed(struct mark m) { return atomic_load_explicit(&m.stream->completed, memory_order_acquire) >= m.sequence; }

struct record *record_of_context(CUcontext context);         /* all work submitted so far */
struct record *record_of_stream(CUstream stream);            /* likewise, of one stream (legacy: and the blocking ones) */
bool record_passed(const struct record *record);
void record_wait(const struct record *record);
void record_unref(struct record *record);

struct CUevent_st {
    struct object object;
    CUcontext context;
    unsigned flags;
    pthread_mutex_t lock;
    struct record *record;               /* NULL: never recorded */
    struct capture *capture;             /* recorded in a capturing stream: that capture, and its nodes */
    struct capture_tail *captured;
    /* interprocess: index of its set_event, else -1 */
    int shared_index;
    size_t list_index;                   /* in the list of all events */
};

extern pthread_mutex_t order_lock;      /* the lists of streams, and the order of submission among streams */
extern _Atomic long work_pending;        /* operations submitted and not completed, all streams */
CUresult submit_host_function(CUstream stream, CUhostFn function, void *data);
#endif
