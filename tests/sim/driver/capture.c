/* capture.c: what calls do while streams capture: they become nodes, wait for nodes, or are refused. The nouns are in capture.h. */
#include "capture_parts.h"
#include "entry.h"
#include "graph.h"
#include <stdlib.h>
#include <string.h>

pthread_mutex_t capture_lock = PTHREAD_MUTEX_INITIALIZER;
struct capture *capture_ongoing;
_Atomic int captures_active;

/* ---- tails */
void capture_tails_set(struct capture_tail **t, const CUgraphNode *nodes, size_t count) {
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

void capture_tails_add(struct capture_tail **t, const CUgraphNode *nodes, size_t count) {
    size_t have = *t ? (*t)->count : 0;
    CUgraphNode *sum = malloc(sizeof *sum * (have + count + 1));
    if (have) memcpy(sum, (*t)->node, sizeof *sum * have);
    size_t n = have;
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t j = 0; j < n; j++) known |= sum[j] == nodes[i];
        if (!known) sum[n++] = nodes[i];
    }
    capture_tails_set(t, sum, n);
    free(sum);
}

/* ---- members; the lock is held */
void capture_unref(struct capture *c) {
    if (--c->refs == 0) free(c);
}

void capture_join(struct capture *c, CUstream s) {
    s->capture = c;
    c->refs++;
    if (c->stream_count < (int)COUNT_OF(c->streams)) c->streams[c->stream_count++] = s;
    stream_ref(s);
    capture_tails_set(&s->tails, NULL, 0);
}

/* ---- what is refused */
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
    pthread_mutex_lock(&capture_lock);
    for (struct capture *c = capture_ongoing; c; c = c->next)
        if (forbids(c)) {
            result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            capture_invalidate(c);
        }
    pthread_mutex_unlock(&capture_lock);
    return result;
}

bool capture_is_active(CUstream s) { return captures_any() && s->capture != NULL; }

CUresult capture_refuse(CUstream s) {
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    if (s->capture) {
        capture_invalidate(s->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    } else for (struct capture *c = s->legacy ? capture_ongoing : NULL; c; c = c->next)
        for (int i = 0; i < c->stream_count; i++)
            if (c->streams[i]->context == s->context && !(c->streams[i]->flags & CU_STREAM_NON_BLOCKING)) {
                capture_invalidate(c);
                result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
    pthread_mutex_unlock(&capture_lock);
    return result;
}

CUresult capture_refuse_legacy(CUstream s) {
    return captures_any() && (s->legacy || s->capture) ? capture_refuse(s) : CUDA_SUCCESS;
}

CUresult capture_refuse_context(CUcontext context) {
    if (!captures_any() || mutated(MUTATION_query_during_capture)) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    for (struct capture *c = capture_ongoing; c; c = c->next)
        if (c->origin->context == context) {
            capture_invalidate(c);
            result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    pthread_mutex_unlock(&capture_lock);
    return result;
}

void capture_stream_destroyed(CUstream s) {
    if (!captures_any()) return;
    pthread_mutex_lock(&capture_lock);
    if (s->capture) capture_invalidate(s->capture);
    pthread_mutex_unlock(&capture_lock);
}

/* ---- calls that become nodes */
static CUresult add_node(CUstream s, struct work *w) {
    struct capture *c = s->capture;
    if (!capture_goes_on(c)) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    CUgraphNode n = graph_add(c->graph, s->tails->node, s->tails->count, w);
    capture_tails_set(&s->tails, &n, 1);
    return CUDA_SUCCESS;
}

CUresult capture_implicit(CUstream s) {
    if (!s->legacy) return CUDA_SUCCESS;
    for (struct capture *c = capture_ongoing; c; c = c->next)
        for (int i = 0; i < c->stream_count; i++)
            if (c->streams[i]->context == s->context && !(c->streams[i]->flags & CU_STREAM_NON_BLOCKING)) {
                capture_invalidate(c);
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
    return CUDA_SUCCESS;
}

CUresult capture_work(CUstream s, struct work *w, bool *captured) {
    *captured = false;
    if (!captures_any()) return CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    *captured = s->capture != NULL;
    CUresult result = s->capture ? add_node(s, w) : capture_implicit(s);
    pthread_mutex_unlock(&capture_lock);
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
    pthread_mutex_lock(&capture_lock);
    if (s->capture) {
        *captured = true;
        struct work w = { .type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .context = s->context, .event = e };
        if (flags & CU_EVENT_RECORD_EXTERNAL) result = add_node(s, &w);
        else if (!capture_goes_on(s->capture)) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        else {
            if (e->capture) capture_unref(e->capture);
            e->capture = s->capture;
            e->capture->refs++;
            capture_tails_set(&e->captured, s->tails->node, s->tails->count);
        }
    } else result = capture_implicit(s);
    pthread_mutex_unlock(&capture_lock);
    return result;
}

static CUresult wait_captured(CUstream s, CUevent e) {
    struct capture *c = e->capture;
    if (!capture_goes_on(c)) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (s->capture && s->capture != c) {
        capture_invalidate(c);
        capture_invalidate(s->capture);
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (!s->capture) {
        if (s->legacy) {
            capture_invalidate(c);
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
        capture_join(c, s);
    }
    if (!mutated(MUTATION_wait_event_ignored)) capture_tails_add(&s->tails, e->captured->node, e->captured->count);
    return CUDA_SUCCESS;
}

CUresult capture_event_wait(CUstream s, CUevent e, unsigned flags, bool *captured) {
    *captured = false;
    if (!captures_any()) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    if (e->capture && e->capture->status != CU_STREAM_CAPTURE_STATUS_NONE) {
        *captured = true;
        result = wait_captured(s, e);
    } else if (s->capture && flags & CU_EVENT_WAIT_EXTERNAL) {
        *captured = true;
        struct work w = { .type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .context = s->context, .event = e };
        result = add_node(s, &w);
    } else if (s->capture) {
        *captured = true;
        capture_invalidate(s->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    } else result = capture_implicit(s);
    pthread_mutex_unlock(&capture_lock);
    return result;
}

CUresult capture_event_refuse(CUevent e) {
    if (!captures_any() || mutated(MUTATION_query_during_capture)) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&capture_lock);
    if (e->capture && e->capture->status != CU_STREAM_CAPTURE_STATUS_NONE) {
        capture_invalidate(e->capture);
        result = CUDA_ERROR_CAPTURED_EVENT;
    }
    pthread_mutex_unlock(&capture_lock);
    return result;
}

void capture_event_forget(CUevent e) {
    if (!e->capture) return;
    pthread_mutex_lock(&capture_lock);
    if (e->capture) capture_unref(e->capture);
    e->capture = NULL;
    free(e->captured);
    e->captured = NULL;
    pthread_mutex_unlock(&capture_lock);
}
