/* capture_parts.h: what capture.c (calls during a capture) and capture_api.c (its begin, its end, questions) share. The nouns are in
 * capture.h. One lock for everything: captures are rare and short. All under it. */
#ifndef SIM_CAPTURE_PARTS_H
#define SIM_CAPTURE_PARTS_H
#include "capture.h"
#include <pthread.h>

struct capture {
    int refs;                            /* streams and events that point here */
    CUstreamCaptureMode mode;
    CUstreamCaptureStatus status;        /* NONE once ended */
    pthread_t thread;
    CUgraph graph;
    bool own_graph;                      /* false: the program's (cuStreamBeginCaptureToGraph) */
    CUstream origin;
    cuuint64_t id;
    struct capture *next;                /* among those not ended */
    CUstream streams[256];
    int stream_count;
};

extern pthread_mutex_t capture_lock;
extern struct capture *capture_ongoing;

static inline void capture_invalidate(struct capture *c) { c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED; }
static inline bool capture_goes_on(const struct capture *c) { return c && c->status == CU_STREAM_CAPTURE_STATUS_ACTIVE; }
void capture_unref(struct capture *c);
void capture_join(struct capture *c, CUstream s);
void capture_tails_set(struct capture_tail **t, const CUgraphNode *nodes, size_t count);
void capture_tails_add(struct capture_tail **t, const CUgraphNode *nodes, size_t count);
/* Work of the legacy stream would have to wait for a capturing blocking stream, which never runs: refused, and that capture is invalid. */
CUresult capture_implicit(CUstream s);
#endif
