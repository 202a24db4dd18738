/* stream.c: how work is queued and done. The nouns are in stream.h.
 * A worker thread belongs to one stream and is started with its first operation. Where the caller would only wait for it
 * anyway and the stream is idle, the operation is done on the caller's thread (SUBMIT_INLINE_IF_IDLE).
 * Lock order: order_lock, then a stream's lock. Operations run with no lock held. */
#define _GNU_SOURCE
#include "stream.h"
#include "capture.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Atomic long work_pending;
pthread_mutex_t order_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic u64 next_stream_id = 3;

/* ---- operations: recycled, because a serving engine makes millions */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct operation *pool;

struct operation *operation_new(CUcontext context, void (*run)(struct operation *)) {
    pthread_mutex_lock(&pool_lock);
    struct operation *o = pool;
    if (o) pool = o->next;
    pthread_mutex_unlock(&pool_lock);
    if (!o) o = malloc(sizeof *o);
    memset(o, 0, offsetof(struct operation, few));
    o->context = context;
    o->run = run;
    o->marks = o->few;
    o->mark_room = (int)COUNT_OF(o->few);
    return o;
}

static void operation_free(struct operation *o) {
    for (int i = 0; i < o->mark_count; i++) stream_unref(o->marks[i].stream);
    if (o->marks != o->few) free(o->marks);
    if (o->drop) o->drop(o);
    pthread_mutex_lock(&pool_lock);
    o->next = pool;
    pool = o;
    pthread_mutex_unlock(&pool_lock);
}

void operation_after(struct operation *o, struct mark mark) {
    if (mark_passed(mark)) return;
    if (o->mark_count == o->mark_room) {
        struct mark *more = malloc(sizeof *more * (size_t)o->mark_room * 2);
        memcpy(more, o->marks, sizeof *more * (size_t)o->mark_count);
        if (o->marks != o->few) free(o->marks);
        o->marks = more;
        o->mark_room *= 2;
    }
    stream_ref(mark.stream);
    o->marks[o->mark_count++] = mark;
}

void operation_after_record(struct operation *o, const struct record *record) {
    for (int i = 0; record && i < record->count; i++) operation_after(o, record->marks[i]);
}

static void stream_unlist(CUstream s);

/* ---- streams */
void stream_ref(CUstream s) { atomic_fetch_add(&s->refs, 1); }

void stream_unref(CUstream s) {
    if (atomic_fetch_sub(&s->refs, 1) != 1) return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->progress);
    object_free(s);
}

CUstream stream_make(CUcontext context, unsigned flags, int priority) {
    CUstream s = object_new(STREAM, sizeof *s);
    s->refs = 1;
    s->context = context;
    s->flags = flags;
    s->priority = priority;
    s->id = atomic_fetch_add(&next_stream_id, 1);
    s->explored = opt.seed != 0;
    if (s->explored) s->random = (opt.seed + s->id) * 0x9e3779b97f4a7c15ull | 1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->progress, NULL);
    pthread_mutex_lock(&order_lock);
    s->listed = true;
    s->next_in_context = context->streams;
    context->streams = s;
    pthread_mutex_unlock(&order_lock);
    return s;
}

static void stream_wait_mark(struct mark m) {
    if (!mark_passed(m)) stream_wait(m.stream, m.sequence);
}

void stream_wait(CUstream s, u64 sequence) {
    pthread_mutex_lock(&s->lock);
    s->waiters++;
    while (atomic_load(&s->completed) < sequence) pthread_cond_wait(&s->progress, &s->lock);
    s->waiters--;
    pthread_mutex_unlock(&s->lock);
}

/* The schedule explorer: now and then a stream dawdles. The delays depend on the seed and the stream only. */
static void stream_dawdle(CUstream s) {
    if (!s->explored) return;
    s->random ^= s->random << 13, s->random ^= s->random >> 7, s->random ^= s->random << 17;
    unsigned roll = (unsigned)(s->random >> 33);
    if (roll % 4 == 0) return;
    struct timespec t = { 0, roll % 4 == 1 ? (long)(roll % 2000000) : (long)(roll % 100000) };
    nanosleep(&t, NULL);
}

static void operation_run(CUstream s, struct operation *o) {
    for (int i = 0; i < o->mark_count; i++) stream_wait_mark(o->marks[i]);
    stream_dawdle(s);
    if (o->even_after_fault || atomic_load(&o->context->error) == CUDA_SUCCESS) o->run(o);
}

/* Called with the lock held. */
static void stream_complete(CUstream s, u64 sequence) {
    atomic_store_explicit(&s->completed, sequence, memory_order_release);
    atomic_fetch_sub(&work_pending, 1);
    if (s->waiters) pthread_cond_broadcast(&s->progress);
}

static void *stream_worker(void *arg) {
    CUstream s = arg;
    pthread_setname_np(pthread_self(), "sim-stream");
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while ((!s->head || s->running) && !(s->destroyed && !s->head)) pthread_cond_wait(&s->work, &s->lock);
        if (!s->head) break;
        struct operation *o = s->head;
        s->head = o->next;
        if (!s->head) s->tail = NULL;
        s->running = true;
        pthread_mutex_unlock(&s->lock);
        operation_run(s, o);
        u64 sequence = o->sequence;
        operation_free(o);
        pthread_mutex_lock(&s->lock);
        s->running = false;
        stream_complete(s, sequence);
    }
    pthread_mutex_unlock(&s->lock);
    stream_unlist(s);
    stream_unref(s);
    return NULL;
}

/* Called with the lock held. Signals belong to the program's own threads. */
static void stream_start_worker(CUstream s) {
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGABRT);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 1 << 20);
    pthread_t thread;
    stream_ref(s);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    s->worker_started = pthread_create(&thread, &attr, stream_worker, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (!s->worker_started) {
        sim_log("cannot start a stream's thread");
        abort();
    }
}

static bool blocking(CUstream s) { return !s->legacy && !(s->flags & CU_STREAM_NON_BLOCKING); }

/* What the default-stream rules make this operation wait for. Called with order_lock held. */
static void order_among_streams(CUstream s, struct operation *o) {
    if (mutated(MUTATION_legacy_async)) return;
    CUcontext c = s->context;
    if (s->legacy) {
        for (CUstream other = c->streams; other; other = other->next_in_context)
            if (blocking(other)) operation_after(o, (struct mark){ other, other->submitted });
    } else if (blocking(s) && c->legacy) {
        operation_after(o, (struct mark){ c->legacy, c->legacy->submitted });
    }
}

static bool all_passed(const struct operation *o) {
    for (int i = 0; i < o->mark_count; i++)
        if (!mark_passed(o->marks[i])) return false;
    return true;
}

u64 stream_submit(CUstream s, struct operation *o, int how) {
    atomic_fetch_add(&work_pending, 1);
    pthread_mutex_lock(&order_lock);
    order_among_streams(s, o);
    pthread_mutex_lock(&s->lock);
    u64 sequence = o->sequence = ++s->submitted;
    bool now = how == SUBMIT_INLINE_IF_IDLE && !s->explored && !s->head && !s->running && all_passed(o);
    if (now) {
        s->running = true;
    } else {
        o->next = NULL;
        if (s->tail) s->tail->next = o; else s->head = o;
        s->tail = o;
        if (!s->worker_started) stream_start_worker(s);
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&order_lock);
    if (now) {
        operation_run(s, o);
        operation_free(o);
        pthread_mutex_lock(&s->lock);
        s->running = false;
        stream_complete(s, sequence);
        if (s->head) pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
    }
    return sequence;
}

bool stream_idle(CUstream s) {
    return atomic_load(&s->completed) >= __atomic_load_n(&s->submitted, __ATOMIC_ACQUIRE);
}

/* Takes the stream off its context's list, and drops the list's reference. */
static void stream_unlist(CUstream s) {
    pthread_mutex_lock(&order_lock);
    bool listed = s->listed;
    s->listed = false;
    for (CUstream *p = &s->context->streams; listed && *p; p = &(*p)->next_in_context)
        if (*p == s) {
            *p = s->next_in_context;
            break;
        }
    pthread_mutex_unlock(&order_lock);
    if (listed) stream_unref(s);
}

/* Its work goes on, and the context goes on waiting for it until it is done; the handle is dead at once. */
void stream_destroy(CUstream s) {
    pthread_mutex_lock(&s->lock);
    s->destroyed = true;
    bool worker = s->worker_started;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (!worker) stream_unlist(s);
}

/* ---- records */
static struct record *record_new(int room) {
    struct record *r = malloc(sizeof *r + sizeof(struct mark) * (size_t)room);
    r->refs = 1;
    r->time = 0;
    r->count = 0;
    return r;
}

static void record_add(struct record *r, CUstream s, u64 sequence) {
    stream_ref(s);
    r->marks[r->count++] = (struct mark){ s, sequence };
}

static int context_stream_count(CUcontext c) {
    int n = 0;
    for (CUstream s = c->streams; s; s = s->next_in_context) n++;
    return n;
}

struct record *record_of_context(CUcontext c) {
    pthread_mutex_lock(&order_lock);
    struct record *r = record_new(context_stream_count(c));
    for (CUstream s = c->streams; s; s = s->next_in_context)
        if (!stream_idle(s)) record_add(r, s, s->submitted);
    pthread_mutex_unlock(&order_lock);
    return r;
}

struct record *record_of_stream(CUstream s) {
    CUcontext c = s->context;
    pthread_mutex_lock(&order_lock);
    struct record *r = record_new(context_stream_count(c) + 1);
    record_add(r, s, s->submitted);
    for (CUstream o = s->legacy ? c->streams : NULL; o; o = o->next_in_context)
        if (o != s && blocking(o) && !stream_idle(o)) record_add(r, o, o->submitted);
    pthread_mutex_unlock(&order_lock);
    return r;
}

bool record_passed(const struct record *r) {
    for (int i = 0; i < r->count; i++)
        if (!mark_passed(r->marks[i])) return false;
    return true;
}

void record_wait(const struct record *r) {
    for (int i = 0; i < r->count; i++) stream_wait_mark(r->marks[i]);
}

void record_unref(struct record *r) {
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1) return;
    for (int i = 0; i < r->count; i++) stream_unref(r->marks[i].stream);
    free(r);
}

void stream_synchronize(CUstream s) {
    if (stream_idle(s) && !s->legacy) return;
    struct record *r = record_of_stream(s);
    record_wait(r);
    record_unref(r);
}

/* ---- handles: 0 is the legacy stream, or the thread's own inside a _ptsz call; 1 and 2 name them outright */
static CUstream own_stream(CUcontext c) {
    for (int i = 0; i < self.own_count; i++)
        if (self.own[i].context == c && self.own[i].context_id == c->id) return self.own[i].stream;
    int i = self.own_count < (int)COUNT_OF(self.own) ? self.own_count++ : 0;
    CUstream s = stream_make(c, CU_STREAM_DEFAULT, 0);
    s->per_thread = true;
    self.own[i].context = c;
    self.own[i].context_id = c->id;
    self.own[i].stream = s;
    return s;
}

CUresult stream_resolve_in(CUcontext c, CUstream handle, CUstream *out) {
    if (!handle) handle = self.per_thread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
    if (handle == CU_STREAM_PER_THREAD && mutated(MUTATION_ptds_legacy)) handle = CU_STREAM_LEGACY;
    if (handle == CU_STREAM_LEGACY) *out = c->legacy;
    else if (handle == CU_STREAM_PER_THREAD) *out = own_stream(c);
    else {
        if (!is(handle, STREAM) || handle->destroyed) {
            sim_misuse("%p is not a stream, or no longer", (void *)handle);
            return CUDA_ERROR_INVALID_HANDLE;
        }
        TRY(context_usable(handle->context));
        *out = handle;
    }
    return CUDA_SUCCESS;
}

/* A real handle brings its own context; a default stream needs a current one. */
CUresult stream_resolve(CUstream handle, CUstream *out) {
    CUcontext c = NULL;
    if ((uintptr_t)handle <= 2) TRY(context_current(&c));
    return stream_resolve_in(c, handle, out);
}
