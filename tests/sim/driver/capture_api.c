/* capture_api.c: captures begin and end, and are asked about. The nouns are in capture.h. */
#include "capture_parts.h"
#include "entry.h"
#include "graph.h"
#include <stdlib.h>

static cuuint64_t next_id = 1;

/* ---- begin */
static CUresult begin(CUstream s, CUgraph graph, const CUgraphNode *after, size_t count, CUstreamCaptureMode mode) {
    if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
    if (s->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    CUresult result = CUDA_ERROR_ILLEGAL_STATE;
    pthread_mutex_lock(&capture_lock);
    if (!s->capture) {
        struct capture *c = calloc(1, sizeof *c);
        *c = (struct capture){ .refs = 1, .mode = mode, .status = CU_STREAM_CAPTURE_STATUS_ACTIVE, .thread = pthread_self(), .origin = s,
                               .graph = graph ? graph : graph_new(), .own_graph = !graph, .id = next_id++, .next = capture_ongoing };
        capture_ongoing = c;
        capture_join(c, s);
        capture_tails_set(&s->tails, after, count);
        atomic_fetch_add(&captures_active, 1);
        entry_look_closer(1);
        result = CUDA_SUCCESS;
    } else capture_invalidate(s->capture);
    pthread_mutex_unlock(&capture_lock);
    return result;
}

CUresult DRV(cuStreamBeginCapture_v2)(CUstream handle, CUstreamCaptureMode mode) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    return begin(s, NULL, NULL, 0, mode);
}

CUresult DRV(cuStreamBeginCapture)(CUstream handle) { return DRV(cuStreamBeginCapture_v2)(handle, CU_STREAM_CAPTURE_MODE_GLOBAL); }

CUresult DRV(cuStreamBeginCaptureToGraph)(CUstream handle, CUgraph graph, const CUgraphNode *after, const CUgraphEdgeData *edges,
                                          size_t count, CUstreamCaptureMode mode) {
    CUstream s;
    (void)edges;
    if (!is(graph, GRAPH) || (count && !after)) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    return begin(s, graph, after, count, mode);
}

/* ---- end */
static void leave_all(struct capture *c) {
    for (int i = 0; i < c->stream_count; i++) {
        CUstream s = c->streams[i];
        if (s->capture == c) {
            s->capture = NULL;
            free(s->tails);
            s->tails = NULL;
            capture_unref(c);
        }
        stream_unref(s);
    }
    c->stream_count = 0;
}

/* Every joined stream's last nodes must lead to the origin's. */
static void mark(CUgraphNode n) {
    if (n->visited) return;
    n->visited = true;
    for (size_t i = 0; i < n->after_count; i++) mark(n->after[i]);
}

static bool joined_back(struct capture *c) {
    for (CUgraphNode n = c->graph->first; n; n = n->next) n->visited = false;
    for (size_t i = 0; i < c->origin->tails->count; i++) mark(c->origin->tails->node[i]);
    bool all = true;
    for (int i = 0; i < c->stream_count; i++)
        for (size_t t = 0; c->streams[i]->capture == c && t < c->streams[i]->tails->count; t++)
            all &= c->streams[i]->tails->node[t]->visited;
    return all;
}

CUresult DRV(cuStreamEndCapture)(CUstream handle, CUgraph *out) {
    CUstream s;
    TRY(stream_resolve(handle, &s));
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = NULL;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    struct capture *c = s->capture;
    if (!c) result = CUDA_ERROR_ILLEGAL_STATE;
    else if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && !pthread_equal(c->thread, pthread_self())) result = CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    else if (c->origin != s) {
        capture_invalidate(c);
        result = CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (result == CUDA_SUCCESS) {
        if (c->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        else if (!joined_back(c)) result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        if (result == CUDA_SUCCESS) *out = c->graph;
        else if (c->own_graph) graph_free(c->graph);
        c->status = CU_STREAM_CAPTURE_STATUS_NONE;
        for (struct capture **p = &capture_ongoing; *p; p = &(*p)->next)
            if (*p == c) {
                *p = c->next;
                break;
            }
        leave_all(c);
        capture_unref(c);
        atomic_fetch_sub(&captures_active, 1);
        entry_look_closer(-1);
    }
    pthread_mutex_unlock(&capture_lock);
    return result;
}

/* ---- questions and changes */
CUresult DRV(cuThreadExchangeStreamCaptureMode)(CUstreamCaptureMode *mode) {
    if (!mode || *mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
    CUstreamCaptureMode old = self.capture_mode;
    self.capture_mode = *mode;
    *mode = old;
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamIsCapturing)(CUstream handle, CUstreamCaptureStatus *out) {
    CUstream s;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *out = CU_STREAM_CAPTURE_STATUS_NONE;
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    if (s->capture) *out = s->capture->status;
    else if (s->legacy && capture_ongoing) result = capture_implicit(s);
    pthread_mutex_unlock(&capture_lock);
    return result;
}

static CUresult capture_info(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **after, size_t *count) {
    CUstream s;
    if (!status) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    struct capture *c = s->capture;
    if (c) {
        *status = c->status;
        if (id) *id = c->id;
        if (capture_goes_on(c)) {
            if (graph) *graph = c->graph;
            if (after) *after = s->tails->node;
            if (count) *count = s->tails->count;
        }
    } else if (s->legacy) result = capture_implicit(s);
    pthread_mutex_unlock(&capture_lock);
    return result;
}

CUresult DRV(cuStreamGetCaptureInfo)(CUstream s, CUstreamCaptureStatus *status, cuuint64_t *id) {
    return capture_info(s, status, id, NULL, NULL, NULL);
}

CUresult DRV(cuStreamGetCaptureInfo_v2)(CUstream s, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **after, size_t *count) {
    return capture_info(s, status, id, graph, after, count);
}

CUresult DRV(cuStreamGetCaptureInfo_v3)(CUstream s, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **after,
                                        const CUgraphEdgeData **edges, size_t *count) {
    if (edges) *edges = NULL;
    return capture_info(s, status, id, graph, after, count);
}

CUresult DRV(cuStreamUpdateCaptureDependencies_v2)(CUstream handle, CUgraphNode *nodes, const CUgraphEdgeData *edges, size_t count, unsigned flags) {
    CUstream s;
    (void)edges;
    if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (count && !nodes)) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    if (!s->capture) result = CUDA_ERROR_ILLEGAL_STATE;
    else if (!capture_goes_on(s->capture)) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) capture_tails_set(&s->tails, nodes, count);
    else capture_tails_add(&s->tails, nodes, count);
    pthread_mutex_unlock(&capture_lock);
    return result;
}

CUresult DRV(cuStreamUpdateCaptureDependencies)(CUstream handle, CUgraphNode *nodes, size_t count, unsigned flags) {
    return DRV(cuStreamUpdateCaptureDependencies_v2)(handle, nodes, NULL, count, flags);
}
