/* event.c: events. What an event remembers is a record (stream.h); an event recorded in a capturing stream remembers nodes of
 * the capture instead, and an interprocess event also numbers its recordings in the set, where the other process reads them. */
#include "stream.h"
#include "capture.h"
#include "control.h"
#include "event.h"
#include "pool.h"
#include <stdlib.h>
#include <time.h>

/* All events, so that a context's go with it. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static CUevent *all;
static size_t all_count, all_room;

CUevent event_make(CUcontext c, unsigned flags) {
    CUevent e = object_new(EVENT, sizeof *e);
    e->context = c;
    e->flags = flags;
    e->shared_index = -1;
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_lock(&all_lock);
    if (all_count == all_room) all = realloc(all, sizeof *all * (all_room = all_room ? all_room * 2 : 256));
    e->list_index = all_count;
    all[all_count++] = e;
    pthread_mutex_unlock(&all_lock);
    return e;
}

static void event_free(CUevent e) {
    pthread_mutex_lock(&all_lock);
    all[e->list_index] = all[--all_count];
    all[e->list_index]->list_index = e->list_index;
    pthread_mutex_unlock(&all_lock);
    event_shared_close(e);
    capture_event_forget(e);
    record_unref(e->record);
    pthread_mutex_destroy(&e->lock);
    object_free(e);
}

void events_drop_context(CUcontext c) {
    for (size_t i = all_count; i-- > 0;)
        if (i < all_count && all[i]->context == c) event_free(all[i]);
}

CUresult DRV(cuEventCreate)(CUevent *out, unsigned flags) {
    CUcontext c;
    unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
    if (!out || flags & ~known) return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_EVENT_INTERPROCESS && !(flags & CU_EVENT_DISABLE_TIMING)) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    CUevent e = event_make(c, flags);
    if (flags & CU_EVENT_INTERPROCESS) TRY(event_shared_open(e, -1));
    *out = e;
    return CUDA_SUCCESS;
}

CUresult DRV(cuEventDestroy_v2)(CUevent e) {
    if (!is(e, EVENT)) {
        sim_misuse("%p is not an event, or no longer", (void *)e);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    event_free(e);
    return CUDA_SUCCESS;
}

CUresult DRV(cuEventDestroy)(CUevent e) { return DRV(cuEventDestroy_v2)(e); }

/* ---- recording */
struct stamp_body { struct record *record; int shared; u64 number; };

static void run_stamp(struct operation *o) {
    struct stamp_body *b = BODY(struct stamp_body, o);
    atomic_store(&b->record->time, now_ns());
    if (b->shared >= 0) event_shared_complete(b->shared, b->number);
}

static void drop_stamp(struct operation *o) { record_unref(BODY(struct stamp_body, o)->record); }

static void event_replace(CUevent e, struct record *r) {
    pthread_mutex_lock(&e->lock);
    struct record *old = e->record;
    e->record = r;
    pthread_mutex_unlock(&e->lock);
    capture_event_forget(e);
    record_unref(old);
}

void event_record_on(CUevent e, CUstream s, const struct record *also) {
    struct record *r = malloc(sizeof *r + sizeof(struct mark));
    r->refs = 2;                         /* the event's and the operation's */
    r->time = 0;
    r->count = 1;
    struct operation *o = operation_new(s->context, run_stamp);
    o->drop = drop_stamp;
    o->even_after_fault = true;
    struct stamp_body *b = BODY(struct stamp_body, o);
    *b = (struct stamp_body){ r, e->shared_index, 0 };
    if (b->shared >= 0) b->number = event_shared_record(e);
    operation_after_record(o, also);
    stream_ref(s);
    r->marks[0].stream = s;
    r->marks[0].sequence = ~0ull;        /* unknown until submitted; nobody sees it before */
    r->marks[0].sequence = stream_submit(s, o, SUBMIT_INLINE_IF_IDLE);
    event_replace(e, r);
}

CUresult DRV(cuEventRecordWithFlags)(CUevent e, CUstream handle, unsigned flags) {
    CUstream s;
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    if (flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
    if ((uintptr_t)handle <= 2) {
        TRY(context_usable(e->context));
        TRY(stream_resolve(handle, &s));
    } else TRY(stream_resolve(handle, &s));
    if (s->context != e->context) return CUDA_ERROR_INVALID_HANDLE;
    bool captured;
    TRY(capture_event_record(s, e, flags, &captured));
    if (!captured) event_record_on(e, s, NULL);
    return CUDA_SUCCESS;
}

CUresult DRV(cuEventRecord)(CUevent e, CUstream handle) { return DRV(cuEventRecordWithFlags)(e, handle, 0); }

/* ---- asking and waiting */
static struct record *event_record_ref(CUevent e) {
    pthread_mutex_lock(&e->lock);
    struct record *r = e->record;
    if (r) atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&e->lock);
    return r;
}

static bool event_passed(CUevent e) {
    if (e->shared_index >= 0) return event_shared_passed(e);
    struct record *r = event_record_ref(e);
    bool passed = !r || record_passed(r);
    record_unref(r);
    return passed;
}

CUresult DRV(cuEventQuery)(CUevent e) {
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    TRY(context_usable(e->context));
    TRY(capture_event_refuse(e));
    return event_passed(e) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult DRV(cuEventSynchronize)(CUevent e) {
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    TRY(context_usable(e->context));
    TRY(capture_event_refuse(e));
    struct record *r = event_record_ref(e);
    if (r) record_wait(r);
    record_unref(r);
    while (!event_passed(e)) nanosleep(&(struct timespec){ 0, 50000 }, NULL);
    pools_after_synchronization();
    return (CUresult)atomic_load(&e->context->error);
}

CUresult DRV(cuEventElapsedTime_v2)(float *out, CUevent a, CUevent b) {
    if (!is(a, EVENT) || !is(b, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
    TRY(context_usable(a->context));
    TRY(capture_event_refuse(a));
    TRY(capture_event_refuse(b));
    struct record *ra = event_record_ref(a), *rb = event_record_ref(b);
    CUresult result = CUDA_SUCCESS;
    if (!ra || !rb) result = CUDA_ERROR_INVALID_HANDLE;
    else if (!record_passed(ra) || !record_passed(rb)) result = CUDA_ERROR_NOT_READY;
    else *out = (float)((double)((int64_t)(rb->time - ra->time)) / 1e6);
    record_unref(ra);
    record_unref(rb);
    return result;
}

CUresult DRV(cuEventElapsedTime)(float *out, CUevent a, CUevent b) { return DRV(cuEventElapsedTime_v2)(out, a, b); }

static void run_nothing(struct operation *o) { (void)o; }

static void run_wait_shared(struct operation *o) { event_shared_wait(BODY(struct stamp_body, o)->shared, BODY(struct stamp_body, o)->number); }

CUresult event_wait_in(CUstream s, CUevent e) {
    if (mutated(MUTATION_wait_event_ignored)) return CUDA_SUCCESS;
    struct operation *o = operation_new(s->context, e->shared_index >= 0 ? run_wait_shared : run_nothing);
    *BODY(struct stamp_body, o) = (struct stamp_body){ NULL, e->shared_index, e->shared_index >= 0 ? event_shared_latest(e) : 0 };
    struct record *r = event_record_ref(e);
    operation_after_record(o, r);
    record_unref(r);
    stream_submit(s, o, o->mark_count || e->shared_index >= 0 ? SUBMIT_PLAIN : SUBMIT_INLINE_IF_IDLE);
    return CUDA_SUCCESS;
}

CUresult DRV(cuStreamWaitEvent)(CUstream handle, CUevent e, unsigned flags) {
    CUstream s;
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    if (flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
    TRY(stream_resolve(handle, &s));
    bool captured;
    TRY(capture_event_wait(s, e, flags, &captured));
    return captured ? CUDA_SUCCESS : event_wait_in(s, e);
}

/* ---- one event for all work of a context, and the reverse */
CUresult DRV(cuCtxRecordEvent)(CUcontext c, CUevent e) {
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    if (!c) TRY(context_current(&c));
    TRY(context_usable(c));
    if (e->context != c) return CUDA_ERROR_INVALID_HANDLE;
    TRY(capture_refuse_context(c));
    struct record *r = record_of_context(c);
    r->time = now_ns();
    event_replace(e, r);
    return CUDA_SUCCESS;
}

CUresult DRV(cuCtxWaitEvent)(CUcontext c, CUevent e) {
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    if (!c) TRY(context_current(&c));
    TRY(context_usable(c));
    TRY(capture_refuse_context(c));
    TRY(capture_event_refuse(e));
    CUstream streams[512];
    int n = 0;
    pthread_mutex_lock(&order_lock);
    for (CUstream s = c->streams; s && n < (int)COUNT_OF(streams); s = s->next_in_context)
        if (!s->destroyed) {
            stream_ref(s);
            streams[n++] = s;
        }
    pthread_mutex_unlock(&order_lock);
    for (int i = 0; i < n; i++) {
        event_wait_in(streams[i], e);
        stream_unref(streams[i]);
    }
    return CUDA_SUCCESS;
}
