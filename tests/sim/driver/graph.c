/* graph.c: building graphs, memory of graphs, and running them. The functions of the API are in graph_api.c and graph_exec.c. */
#include "graph.h"
#include "control.h"
#include "event.h"
#include "pool.h"
#include <stdlib.h>
#include <string.h>

CUgraph graph_new(void) {
    CUgraph g = object_new(GRAPH, sizeof *g);
    g->last = &g->first;
    return g;
}

void graph_free(CUgraph g) {
    while (g->first) {
        CUgraphNode n = g->first;
        g->first = n->next;
        if (n->work.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || n->work.type == CU_GRAPH_NODE_TYPE_MEM_FREE) graph_memory_unref(n->work.memory);
        work_drop(&n->work);
        free(n->after);
        object_free(n);
    }
    graph_hold_drop(g);
    object_free(g);
}

bool graph_depend(CUgraphNode n, CUgraphNode on) {
    for (size_t i = 0; i < n->after_count; i++)
        if (n->after[i] == on) return false;
    if (n->after_count == n->after_room) n->after = realloc(n->after, sizeof *n->after * (n->after_room = n->after_room ? n->after_room * 2 : 4));
    n->after[n->after_count++] = on;
    return true;
}

CUgraphNode graph_add(CUgraph g, const CUgraphNode *after, size_t count, struct work *w) {
    CUgraphNode n = object_new(GRAPH_NODE, sizeof *n);
    n->graph = g;
    n->work = *w;
    n->id = (int)g->count++;
    *g->last = n;
    g->last = &n->next;
    for (size_t i = 0; i < count; i++) graph_depend(n, after[i]);
    return n;
}

CUgraph graph_clone(CUgraph g) {
    CUgraph c = graph_new();
    graph_hold_copy(c, g);
    for (CUgraphNode n = g->first; n; n = n->next) {
        struct work w = work_copy(&n->work);
        if (w.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || w.type == CU_GRAPH_NODE_TYPE_MEM_FREE) graph_memory_ref(w.memory);
        n->copy = graph_add(c, NULL, 0, &w);
        n->copy->origin = n;
        n->copy->disabled = n->disabled;
        if (w.type == CU_GRAPH_NODE_TYPE_GRAPH) w.child->child = true;
    }
    for (CUgraphNode n = g->first; n; n = n->next)
        for (size_t i = 0; i < n->after_count; i++) graph_depend(n->copy, n->after[i]->copy);
    return c;
}

/* Nodes after those they depend on, otherwise in order of creation. Fails on a cycle. */
CUresult graph_order(CUgraph g, CUgraphNode **out, size_t *count) {
    size_t n = 0, done = 0;
    for (CUgraphNode node = g->first; node; node = node->next, n++) node->visited = false;
    CUgraphNode *order = malloc(sizeof *order * (n + 1));
    for (bool progress = true; progress && done < n;) {
        progress = false;
        for (CUgraphNode node = g->first; node; node = node->next) {
            bool ready = !node->visited;
            for (size_t i = 0; ready && i < node->after_count; i++) ready = node->after[i]->visited;
            if (!ready) continue;
            node->visited = progress = true;
            order[done++] = node;
        }
    }
    *out = order;
    *count = done;
    if (done == n) return CUDA_SUCCESS;
    free(order);
    *out = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

/* ---- memory of graphs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct graph_memory **known;
static size_t known_count, known_room;

struct graph_memory *graph_memory_new(CUcontext c, struct device *d, size_t size) {
    struct block *b;
    if (block_allocate(d, c, size, BLOCK_GRAPH, &b) != CUDA_SUCCESS) return NULL;
    b->readable = b->writable = false;
    struct graph_memory *m = calloc(1, sizeof *m);
    *m = (struct graph_memory){ .refs = 1, .block = b, .pointer = b->base, .size = size, .device = d };
    pthread_mutex_lock(&lock);
    if (known_count == known_room) known = realloc(known, sizeof *known * (known_room = known_room ? known_room * 2 : 32));
    known[known_count++] = m;
    pthread_mutex_unlock(&lock);
    return m;
}

/* With a new reference. */
struct graph_memory *graph_memory_at(CUdeviceptr pointer) {
    struct graph_memory *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < known_count && !found; i++)
        if (known[i]->pointer == pointer) found = known[i];
    if (found) atomic_fetch_add(&found->refs, 1);
    pthread_mutex_unlock(&lock);
    return found;
}

void graph_memory_ref(struct graph_memory *m) { atomic_fetch_add(&m->refs, 1); }

void graph_memory_unref(struct graph_memory *m) {
    pthread_mutex_lock(&lock);
    bool last = atomic_fetch_sub(&m->refs, 1) == 1;
    for (size_t i = 0; last && i < known_count; i++)
        if (known[i] == m) {
            known[i] = known[--known_count];
            break;
        }
    pthread_mutex_unlock(&lock);
    if (!last) return;
    block_release(m->block);
    free(m);
}

/* Live memory holds a reference to itself: a graph that is destroyed leaves to the program what its last launch allocated. */
static void set_live(struct graph_memory *m, bool live) {
    pthread_mutex_lock(&memory_lock);
    bool was = m->live;
    m->live = m->block->readable = m->block->writable = live;
    pthread_mutex_unlock(&memory_lock);
    if (live && !was) graph_memory_ref(m);
    if (was && !live) graph_memory_unref(m);
}

CUresult graph_memory_run(const struct work *w) {
    set_live(w->memory, w->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC);
    return CUDA_SUCCESS;
}

/* Freed by the program outside of any graph: now, or in stream order. */
CUresult graph_memory_free(CUdeviceptr pointer) {
    struct graph_memory *m = graph_memory_at(pointer);
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    CUresult result = m->live ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    set_live(m, false);
    graph_memory_unref(m);
    return result;
}

static void run_free(struct operation *o) { set_live(*BODY(struct graph_memory *, o), false); }
static void drop_free(struct operation *o) { graph_memory_unref(*BODY(struct graph_memory *, o)); }

CUresult graph_memory_free_ordered(CUdeviceptr pointer, CUstream s) {
    struct graph_memory *m = graph_memory_at(pointer);
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    struct operation *o = operation_new(s->context, run_free);
    o->drop = drop_free;
    *BODY(struct graph_memory *, o) = m;
    stream_submit(s, o, SUBMIT_PLAIN);
    return CUDA_SUCCESS;
}

/* ---- running */
static CUresult run_graph(CUgraph g);

static CUresult run_node(CUgraphNode n) {
    if (n->disabled) return CUDA_SUCCESS;
    switch (n->work.type) {
    case CU_GRAPH_NODE_TYPE_GRAPH: return run_graph(n->work.child);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
    case CU_GRAPH_NODE_TYPE_MEM_FREE: return graph_memory_run(&n->work);
    default: return work_run(&n->work);
    }
}

static CUresult run_graph(CUgraph g) {
    CUgraphNode *order;
    size_t count;
    TRY(graph_order(g, &order, &count));
    CUresult result = CUDA_SUCCESS;
    for (size_t i = 0; i < count && result == CUDA_SUCCESS; i++) result = run_node(order[i]);
    free(order);
    return result;
}

struct exec_body { CUgraphExec exec; size_t first, count; };

void exec_unref(CUgraphExec e) {
    if (atomic_fetch_sub(&e->refs, 1) != 1) return;
    graph_free(e->graph);
    free(e->order);
    object_free(e);
}

static void run_exec(struct operation *o) {
    struct exec_body *b = BODY(struct exec_body, o);
    for (size_t i = b->first; i < b->first + b->count; i++) {
        CUresult result = run_node(b->exec->order[i]);
        if (result == CUDA_SUCCESS) continue;
        context_fault(o->context, result);
        return;
    }
}

static void drop_exec(struct operation *o) { exec_unref(BODY(struct exec_body, o)->exec); }

static void submit_part(CUgraphExec e, CUstream s, size_t first, size_t count) {
    if (!count) return;
    struct operation *o = operation_new(s->context, run_exec);
    o->drop = drop_exec;
    atomic_fetch_add(&e->refs, 1);
    *BODY(struct exec_body, o) = (struct exec_body){ e, first, count };
    stream_submit(s, o, SUBMIT_PLAIN);
}

/* One operation for each run of nodes between event nodes; those go through the stream itself. */
CUresult graph_launch(CUgraphExec e, CUstream s) {
    size_t first = 0;
    for (size_t i = 0; i < e->count; i++) {
        struct work *w = &e->order[i]->work;
        if (w->type != CU_GRAPH_NODE_TYPE_EVENT_RECORD && w->type != CU_GRAPH_NODE_TYPE_WAIT_EVENT) continue;
        submit_part(e, s, first, i - first);
        first = i + 1;
        if (e->order[i]->disabled) continue;
        if (w->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) event_record_on(w->event, s, NULL);
        else event_wait_in(s, w->event);
    }
    submit_part(e, s, first, e->count - first);
    return CUDA_SUCCESS;
}

/* ---- what graph memory takes of a device: here it is reserved from the making of the node to the end of the last graph */
CUresult DRV(cuDeviceGetGraphMemAttribute)(CUdevice ordinal, CUgraphMem_attribute attribute, void *out) {
    struct device *d = device_get(ordinal);
    if (!d) return CUDA_ERROR_INVALID_DEVICE;
    if (!out || attribute > CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) return CUDA_ERROR_INVALID_VALUE;
    static cuuint64_t used_high, reserved_high;
    cuuint64_t used = 0, reserved = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < known_count; i++)
        if (known[i]->device == d) {
            reserved += charge_for(known[i]->size);
            used += known[i]->live ? charge_for(known[i]->size) : 0;
        }
    used_high = MAX(used_high, used), reserved_high = MAX(reserved_high, reserved);
    const cuuint64_t values[] = { used, used_high, reserved, reserved_high };
    *(cuuint64_t *)out = values[attribute];
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult DRV(cuDeviceSetGraphMemAttribute)(CUdevice ordinal, CUgraphMem_attribute attribute, void *value) {
    if (!device_get(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    bool high = attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH || attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH;
    return value && high && *(cuuint64_t *)value == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
