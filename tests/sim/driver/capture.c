/* capture.c: stream capture. The nouns are in capture.h. One lock for everything: captures are rare and short. */
#include "capture.h"
#include "entry.h"
#include "graph.h"
#include <stdlib.h>
#include <string.h>

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

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct capture *ongoing;
static cuuint64_t next_id = 1;
_Atomic int captures_active;

/* ---- tails */
static void tails_set(struct capture_tail **t, const CUgraphNode *nodes, size_t count) {
    if (!*t || (*t)->room < count) {
        size_t room = MAX(count, (size_t)4);
        struct capture_tail *more = malloc(sizeof *more + sizeof(CUgraphNode) * room);
        more->room = room;
        free(*t);
        *t = more;
    }
    (*t)->count = count;
    if (count) memcpy((*t)->node, nodes, sizeof *nodes * count);
}

static void tails_add(struct capture_tail **t, const CUgraphNode *nodes, size_t count) {
    size_t have = *t ? (*t)->count : 0;
    CUgraphNode *sum = malloc(sizeof *sum * (have + count + 1));
    if (have) memcpy(sum, (*t)->node, sizeof *sum * have);
    size_t n = have;
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t j = 0; j < n; j++) known |= sum[j] == nodes[i];
        if (!known) sum[n++] = nodes[i];
    }
    tails_set(t, sum, n);
    free(sum);
}

/* ---- life of a capture; the lock is held */
static void capture_unref(struct capture *c) {
    if (--c->refs == 0) free(c);
}

static void join(struct capture *c, CUstream s) {
    s->capture = c;
    c->refs++;
    if (c->stream_count < (int)COUNT_OF(c->streams)) c->streams[c->stream_count++] = s;
    stream_ref(s);
    tails_set(&s->tails, NULL, 0);
}

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

static void invalidate(struct capture *c) { c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED; }

static bool active(const struct capture *c) { return c && c->status == CU_STREAM_CAPTURE_STATUS_ACTIVE; }

/* Does this capture forbid unsafe calls to the calling thread, in its mode? */
static bool forbids(const struct capture *c) {
    bool local = pthread_equal(c->thread, pthread_self());
    switch (self.capture_mode) {
    case CU_STREAM_CAPTURE_MODE_RELAXED: return false;
    case CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: return local && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    default: return local ? c->mode != CU_STREAM_CAPTURE_MODE_RELAXED : c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    }
}

CUresult capture_check_unsafe(int call) {
    if (!captures_any()) return CUDA_SUCCESS;
    if (mutated(MUTATION_query_during_capture) && (call == ID_cuEventQuery || call == ID_cuCtxRecordEvent)) return CUDA_SUCCESS;
    if (mutated(MUTATION_capture_alloc) && call == ID_cuMemAlloc_v2) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    for (struct capture *c = ongoing; c; c = c->next)
        if (forbids(c)) {
            result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            invalidate(c);
        }
    pthread_mutex_unlock(&lock);
    return result;
}

bool capture_is_active(CUstream s) { return captures_any() && s->capture != NULL; }

CUresult capture_refuse(CUstream s) {
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (s->capture) {
        invalidate(s->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    } else for (struct capture *c = s->legacy ? ongoing : NULL; c; c = c->next)
        for (int i = 0; i < c->stream_count; i++)
            if (c->streams[i]->context == s->context && !(c->streams[i]->flags & CU_STREAM_NON_BLOCKING)) {
                invalidate(c);
                result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult capture_refuse_legacy(CUstream s) {
    return captures_any() && (s->legacy || s->capture) ? capture_refuse(s) : CUDA_SUCCESS;
}

CUresult capture_refuse_context(CUcontext context) {
    if (!captures_any() || mutated(MUTATION_query_during_capture)) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    for (struct capture *c = ongoing; c; c = c->next)
        if (c->origin->context == context) {
            invalidate(c);
            result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    pthread_mutex_unlock(&lock);
    return result;
}

void capture_stream_destroyed(CUstream s) {
    if (!captures_any()) return;
    pthread_mutex_lock(&lock);
    if (s->capture) invalidate(s->capture);
    pthread_mutex_unlock(&lock);
}

/* ---- calls that become nodes */
static CUresult add_node(CUstream s, struct work *w) {
    struct capture *c = s->capture;
    if (!active(c)) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    CUgraphNode n = graph_add(c->graph, s->tails->node, s->tails->count, w);
    tails_set(&s->tails, &n, 1);
    return CUDA_SUCCESS;
}

/* Work of the legacy stream would have to wait for a capturing blocking stream, which never runs. */
static CUresult implicit(CUstream s) {
    if (!s->legacy) return CUDA_SUCCESS;
    for (struct capture *c = ongoing; c; c = c->next)
        for (int i = 0; i < c->stream_count; i++)
            if (c->streams[i]->context == s->context && !(c->streams[i]->flags & CU_STREAM_NON_BLOCKING)) {
                invalidate(c);
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
    return CUDA_SUCCESS;
}

CUresult capture_work(CUstream s, struct work *w, bool *captured) {
    *captured = false;
    if (!captures_any()) return CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    *captured = s->capture != NULL;
    CUresult result = s->capture ? add_node(s, w) : implicit(s);
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult capture_host(CUstream s, const CUDA_HOST_NODE_PARAMS *params, bool *captured) {
    struct work w = { .type = CU_GRAPH_NODE_TYPE_HOST, .context = s->context, .host = *params };
    return capture_work(s, &w, captured);
}

CUresult capture_allocation(CUstream s, struct device *d, size_t size, CUdeviceptr *out, bool *captured) {
    *captured = false;
    if (!captures_any() || !s->capture) return CUDA_SUCCESS;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC, .context = s->context };
    w.memory = graph_memory_new(s->context, d, size);
    if (!w.memory) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = w.memory->pointer;
    return capture_work(s, &w, captured);
}

CUresult capture_free(CUstream s, CUdeviceptr pointer, bool *captured) {
    *captured = false;
    if (!captures_any() || !s->capture) return CUDA_SUCCESS;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_MEM_FREE, .context = s->context, .memory = graph_memory_at(pointer) };
    *captured = true;
    if (!w.memory) return CUDA_ERROR_INVALID_VALUE;
    return capture_work(s, &w, captured);
}

/* ---- events during a capture */
CUresult capture_event_record(CUstream s, CUevent e, unsigned flags, bool *captured) {
    *captured = false;
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (s->capture) {
        *captured = true;
        struct work w = { .type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .context = s->context, .event = e };
        if (flags & CU_EVENT_RECORD_EXTERNAL) result = add_node(s, &w);
        else if (!active(s->capture)) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        else {
            if (e->capture) capture_unref(e->capture);
            e->capture = s->capture;
            e->capture->refs++;
            tails_set(&e->captured, s->tails->node, s->tails->count);
        }
    } else result = implicit(s);
    pthread_mutex_unlock(&lock);
    return result;
}

static CUresult wait_captured(CUstream s, CUevent e) {
    struct capture *c = e->capture;
    if (!active(c)) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (s->capture && s->capture != c) {
        invalidate(c);
        invalidate(s->capture);
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (!s->capture) {
        if (s->legacy) {
            invalidate(c);
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
        join(c, s);
    }
    if (!mutated(MUTATION_wait_event_ignored)) tails_add(&s->tails, e->captured->node, e->captured->count);
    return CUDA_SUCCESS;
}

CUresult capture_event_wait(CUstream s, CUevent e, unsigned flags, bool *captured) {
    *captured = false;
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (e->capture && e->capture->status != CU_STREAM_CAPTURE_STATUS_NONE) {
        *captured = true;
        result = wait_captured(s, e);
    } else if (s->capture && flags & CU_EVENT_WAIT_EXTERNAL) {
        *captured = true;
        struct work w = { .type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .context = s->context, .event = e };
        result = add_node(s, &w);
    } else if (s->capture) {
        *captured = true;
        invalidate(s->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    } else result = implicit(s);
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult capture_event_refuse(CUevent e) {
    if (!captures_any() || mutated(MUTATION_query_during_capture)) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (e->capture && e->capture->status != CU_STREAM_CAPTURE_STATUS_NONE) {
        invalidate(e->capture);
        result = CUDA_ERROR_CAPTURED_EVENT;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void capture_event_forget(CUevent e) {
    if (!e->capture) return;
    pthread_mutex_lock(&lock);
    if (e->capture) capture_unref(e->capture);
    e->capture = NULL;
    free(e->captured);
    e->captured = NULL;
    pthread_mutex_unlock(&lock);
}

/* ---- the API */
static CUresult begin(CUstream s, CUgraph graph, const CUgraphNode *after, size_t count, CUstreamCaptureMode mode) {
    if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
    if (s->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    CUresult result = CUDA_ERROR_ILLEGAL_STATE;
    pthread_mutex_lock(&lock);
    if (!s->capture) {
        struct capture *c = calloc(1, sizeof *c);
        *c = (struct capture){ .refs = 1, .mode = mode, .status = CU_STREAM_CAPTURE_STATUS_ACTIVE, .thread = pthread_self(), .origin = s,
                               .graph = graph ? graph : graph_new(), .own_graph = !graph, .id = next_id++, .next = ongoing };
        ongoing = c;
        join(c, s);
        tails_set(&s->tails, after, count);
        atomic_fetch_add(&captures_active, 1);
        entry_look_closer(1);
        result = CUDA_SUCCESS;
    } else invalidate(s->capture);
    pthread_mutex_unlock(&lock);
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
    pthread_mutex_lock(&lock);
    struct capture *c = s->capture;
    if (!c) result = CUDA_ERROR_ILLEGAL_STATE;
    else if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && !pthread_equal(c->thread, pthread_self())) result = CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    else if (c->origin != s) {
        invalidate(c);
        result = CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (result == CUDA_SUCCESS) {
        if (c->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        else if (!joined_back(c)) result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        if (result == CUDA_SUCCESS) *out = c->graph;
        else if (c->own_graph) graph_free(c->graph);
        c->status = CU_STREAM_CAPTURE_STATUS_NONE;
        for (struct capture **p = &ongoing; *p; p = &(*p)->next)
            if (*p == c) {
                *p = c->next;
                break;
            }
        leave_all(c);
        capture_unref(c);
        atomic_fetch_sub(&captures_active, 1);
        entry_look_closer(-1);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

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
    pthread_mutex_lock(&lock);
    if (s->capture) *out = s->capture->status;
    else if (s->legacy && ongoing) result = implicit(s);
    pthread_mutex_unlock(&lock);
    return result;
}

static CUresult capture_info(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **after, size_t *count) {
    CUstream s;
    if (!status) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    struct capture *c = s->capture;
    if (c) {
        *status = c->status;
        if (id) *id = c->id;
        if (active(c)) {
            if (graph) *graph = c->graph;
            if (after) *after = s->tails->node;
            if (count) *count = s->tails->count;
        }
    } else if (s->legacy) result = implicit(s);
    pthread_mutex_unlock(&lock);
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
    pthread_mutex_lock(&lock);
    if (!s->capture) result = CUDA_ERROR_ILLEGAL_STATE;
    else if (!active(s->capture)) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) tails_set(&s->tails, nodes, count);
    else tails_add(&s->tails, nodes, count);
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult DRV(cuStreamUpdateCaptureDependencies)(CUstream handle, CUgraphNode *nodes, size_t count, unsigned flags) {
    return DRV(cuStreamUpdateCaptureDependencies_v2)(handle, nodes, NULL, count, flags);
}
