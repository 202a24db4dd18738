/* event.c: pooled CUDA events; see event.h. */
#include "device/event.h"
#include "base/sys.h"
#include <sys/mman.h>

enum { SLAB_BYTES = 16 << 10, MOST_SPARES = 64 };

static struct fence_event *blank; /* descriptors without a CUDA event */
static struct { struct fence_event *first; unsigned count; } spares[CONTEXTS];

static struct fence_event *descriptor(void) {
    if (!blank) {
        struct fence_event *slab = sys_map(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE);
        for (size_t i = 0; slab && i < SLAB_BYTES / sizeof *slab; i++) slab[i].next = blank, blank = &slab[i];
    }
    struct fence_event *e = blank;
    if (e) blank = e->next;
    return e;
}

static void discard(struct fence_event *e) { *e = (struct fence_event){ .next = blank }, blank = e; }

static struct fence_event *make(struct context *c) {
    struct fence_event *e = descriptor();
    if (!e) return NULL;
    *e = (struct fence_event){ .context = c };
    CUresult made = CUDA_ERROR_INVALID_CONTEXT;
    if (context_enter(c)) {
        made = driver.cuEventCreate(&e->handle, CU_EVENT_DISABLE_TIMING);
        context_leave(c);
    }
    if (made == CUDA_SUCCESS) return e;
    context_noticed(c, made);
    discard(e);
    return NULL;
}

static struct fence_event *take(struct context *c) {
    struct fence_event *e = spares[c->index].first;
    if (!e) return make(c);
    spares[c->index].first = e->next;
    spares[c->index].count--;
    e->next = NULL;
    return e;
}

static struct fence_event *recorded(struct fence_event *e, CUresult answer) {
    if (answer == CUDA_SUCCESS) return e;
    context_noticed(e->context, answer);
    event_put(e);
    return NULL;
}

struct fence_event *event_of_context(struct context *c) {
    struct fence_event *e = take(c);
    return e ? recorded(e, driver.cuCtxRecordEvent(c->handle, e->handle)) : NULL;
}

struct fence_event *event_of_stream(struct context *c, CUstream stream) {
    struct fence_event *e = take(c);
    if (!e) return NULL;
    CUresult answer = CUDA_ERROR_INVALID_CONTEXT;
    if (context_enter(c)) { /* what "legacy" means depends on the context */
        answer = driver.cuEventRecord(e->handle, stream);
        context_leave(c);
    }
    return recorded(e, answer);
}

enum event_answer event_ask(struct fence_event *e) {
    uint32_t gate = atomic_load(&e->context->gate);
    if (gate & GATE_ENDING) return EVENT_WAITING; /* the handle may die any moment; if the context lives on, asked later */
    if (gate & (GATE_CLOSED | GATE_POISONED)) return EVENT_LOST;
    CUresult answer = driver.cuEventQuery(e->handle);
    if (answer == CUDA_SUCCESS) return EVENT_PASSED;
    context_noticed(e->context, answer);
    return driver_error_lasts(answer) ? EVENT_LOST : EVENT_WAITING;
}

void event_put(struct fence_event *e) {
    struct context *c = e->context;
    bool usable = context_has_work(c);
    if (usable && spares[c->index].count < MOST_SPARES) {
        e->next = spares[c->index].first, spares[c->index].first = e;
        spares[c->index].count++;
        return;
    }
    if (usable && driver.cuEventDestroy_v2) driver.cuEventDestroy_v2(e->handle);
    discard(e);
}

void event_put_all(struct fence_event *list) {
    while (list) {
        struct fence_event *next = list->next;
        event_put(list);
        list = next;
    }
}

void event_forget(struct fence_event **list, const struct context *c) {
    while (*list) {
        struct fence_event *e = *list;
        if (e->context != c) {
            list = &e->next;
            continue;
        }
        *list = e->next;
        discard(e);
    }
}

void event_forget_spares(const struct context *c) {
    event_forget(&spares[c->index].first, c);
    spares[c->index].count = 0;
}
