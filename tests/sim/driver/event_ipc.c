/* event_ipc.c: interprocess events. The set numbers each recording and remembers the last one that completed; whoever opened
 * the event reads the numbers, and waits by looking again. */
#define _GNU_SOURCE
#include "control.h"
#include "event.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVENT_MAGIC 0x45504953u
struct event_handle { uint32_t magic, pid; int32_t index; u64 start, generation; };

CUresult event_shared_open(CUevent e, int index) {
    set_lock(sim_set);
    for (int i = 0; i < SET_EVENTS && index < 0; i++)
        if (!sim_set->event[i].used || (sim_set->event[i].refs == 0)) index = i;
    if (index >= 0) {
        struct set_event *s = &sim_set->event[index];
        if (!s->used || s->refs == 0) *s = (struct set_event){ .used = 1, .holders_pid = (uint32_t)getpid() };
        s->refs++;
    }
    set_unlock(sim_set);
    e->shared_index = index;
    return index < 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

void event_shared_close(CUevent e) {
    if (e->shared_index < 0) return;
    set_lock(sim_set);
    sim_set->event[e->shared_index].refs--;
    set_unlock(sim_set);
}

u64 event_shared_record(CUevent e) { return atomic_fetch_add(&sim_set->event[e->shared_index].recorded, 1) + 1; }
u64 event_shared_latest(CUevent e) { return atomic_load(&sim_set->event[e->shared_index].recorded); }

void event_shared_complete(int index, u64 number) {
    _Atomic uint64_t *completed = &sim_set->event[index].completed;
    uint64_t old = atomic_load(completed);
    while (old < number && !atomic_compare_exchange_weak(completed, &old, number)) {}
}

bool event_shared_passed(CUevent e) {
    struct set_event *s = &sim_set->event[e->shared_index];
    return atomic_load(&s->completed) >= atomic_load(&s->recorded);
}

/* A recorder that died never completes; its work is over all the same. */
void event_shared_wait(int index, u64 number) {
    struct set_event *s = &sim_set->event[index];
    for (unsigned turn = 0; atomic_load(&s->completed) < number; turn++) {
        if (turn % 1000 == 999 && process_start_time((int)s->holders_pid) == 0) return;
        nanosleep(&(struct timespec){ 0, 50000 }, NULL);
    }
}

CUresult DRV(cuIpcGetEventHandle)(CUipcEventHandle *out, CUevent e) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!is(e, EVENT)) return CUDA_ERROR_INVALID_HANDLE;
    if (!(e->flags & CU_EVENT_INTERPROCESS)) return CUDA_ERROR_INVALID_HANDLE;
    struct event_handle h = { EVENT_MAGIC, (uint32_t)getpid(), e->shared_index, process_start_time(getpid()), 0 };
    memset(out, 0, sizeof *out);
    memcpy(out, &h, sizeof h);
    return CUDA_SUCCESS;
}

CUresult DRV(cuIpcOpenEventHandle)(CUevent *out, CUipcEventHandle handle) {
    CUcontext c;
    struct event_handle h;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    memcpy(&h, &handle, sizeof h);
    if (h.magic != EVENT_MAGIC || h.index < 0 || h.index >= SET_EVENTS) return CUDA_ERROR_INVALID_VALUE;
    if (h.pid == (uint32_t)getpid()) return CUDA_ERROR_INVALID_CONTEXT;
    if (process_start_time((int)h.pid) != h.start) return CUDA_ERROR_INVALID_VALUE;
    CUevent e = event_make(c, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
    TRY(event_shared_open(e, h.index));
    *out = e;
    return CUDA_SUCCESS;
}
