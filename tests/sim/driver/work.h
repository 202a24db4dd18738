/* work.h: one thing that a device can be asked to do, in one form for streams and graphs alike.
 * A stream function fills in a *work* and hands it to work_submit: a capturing stream makes a graph node of it, any other
 * stream queues it. A graph node holds a work; launching the graph runs the works in order of dependency.
 * A work owns what it points at (arguments, staged bytes, batches); work_copy and work_drop keep count. */
#ifndef SIM_WORK_H
#define SIM_WORK_H
#include "stream.h"

struct arguments {                       /* a launch's parameters, copied at submission */
    _Atomic int refs;
    int count;
    void *pointer[64];                   /* into bytes, or NULL where the size is unknown */
    void *given[64];                     /* as the program passed them; not read again unless the size is known */
    char bytes[];
};

struct launch { CUfunction function; unsigned grid[3], block[3], shared; bool cooperative; struct arguments *arguments;
                CUdeviceptr zero_at; size_t zero_bytes; };
struct batch { _Atomic int refs; unsigned count; CUstreamBatchMemOpParams op[]; };
struct graph_memory;

struct work {
    CUgraphNodeType type;
    CUcontext context;
    union {
        CUDA_MEMCPY3D copy;
        CUDA_MEMSET_NODE_PARAMS fill;
        struct launch launch;
        CUDA_HOST_NODE_PARAMS host;
        CUevent event;
        CUgraph child;
        struct batch *batch;
        struct graph_memory *memory;     /* allocation and free nodes */
    };
    void *staged;                        /* pageable source bytes, copied at submission */
};

struct work work_copy(const struct work *work);
void work_drop(struct work *work);
CUresult work_run(const struct work *work);                  /* does it now, on this thread; may set the sticky error */
enum { WORK_ASYNC, WORK_SYNC };
CUresult work_submit(CUstream stream, struct work *work, int how);    /* takes over the work */
CUresult work_run_memory_operations(CUcontext context, const struct batch *batch);

/* copy.c */
CUresult copy_run(const struct work *work);
CUresult fill_run(const struct work *work);
CUresult copy_submit(CUstream handle, const CUDA_MEMCPY3D *copy, int how);
bool copy_valid(const CUDA_MEMCPY3D *copy);
/* launch.c */
CUresult launch_run(const struct work *work);
CUresult launch_make(const CUDA_KERNEL_NODE_PARAMS *params, struct launch *out);
#endif
