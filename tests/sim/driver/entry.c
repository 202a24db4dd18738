/* entry.c: the slow side of every call: initialisation, fork, fault injection, costs, capture rules, log.
 * A *fault* is one line of SIM_FAULT, name:nth:error: the nth call of that name returns the error instead of working
 * (nth 0: every call). The name is an export (cuMemAlloc_v2) or a base name (cuMemAlloc: any of its versions). */
#include "entry.h"
#include "capture.h"
#include "control.h"
#include "cost.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#include "names.inc"
};
_Static_assert(COUNT_OF(names) <= SET_NAMES, "SET_NAMES is too small");

static struct set_slot before_init;      /* counts of the calls made before there is a set */
struct set_slot *entry_slot = &before_init;
_Atomic int entry_slow = 1;              /* one reason to begin with: not initialised */
__thread struct thread_state self;

enum { MAX_FAULTS = 32 };
static struct fault { char name[64]; unsigned long nth, seen; CUresult error; bool used; } faults[MAX_FAULTS];
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

const char *call_name(int id) { return names[id]; }

int call_id(const char *name) {
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(names[i], name) == 0) return (int)i;
    return -1;
}

void entry_look_closer(int delta) { atomic_fetch_add(&entry_slow, delta); }

/* From here on the counters are the set's; what was counted before is carried over. */
void entry_join(struct set *set, int me) {
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        set->slot[me].calls[i] += before_init.calls[i];
        set->slot[me].wrong[i] += before_init.wrong[i];
        snprintf(set->name[i], sizeof set->name[i], "%s", names[i]);
    }
    set->names = COUNT_OF(names);
    entry_slot = &set->slot[me];
}

void entry_leave(void) { entry_slot = &before_init; }

/* "cuMemAlloc" covers cuMemAlloc_v2; "cuMemAlloc_v2" only itself. */
static bool fault_covers(const char *fault, const char *name) {
    size_t n = strlen(fault);
    if (strncmp(fault, name, n) != 0) return false;
    if (!name[n]) return true;
    const char *rest = name + n;
    return (rest[0] == '_' && rest[1] == 'v') || strncmp(rest, "_pt", 3) == 0;
}

bool fault_add(const char *name, unsigned long nth, int error) {
    bool added = false;
    pthread_mutex_lock(&fault_lock);
    for (int i = 0; i < MAX_FAULTS && !added; i++) {
        if (faults[i].used) continue;
        faults[i] = (struct fault){ .nth = nth, .error = (CUresult)error, .used = true };
        snprintf(faults[i].name, sizeof faults[i].name, "%s", name);
        added = true;
    }
    pthread_mutex_unlock(&fault_lock);
    if (added) entry_look_closer(1);
    return added;
}

void fault_clear(void) {
    pthread_mutex_lock(&fault_lock);
    for (int i = 0; i < MAX_FAULTS; i++)
        if (faults[i].used) {
            faults[i].used = false;
            entry_look_closer(-1);
        }
    pthread_mutex_unlock(&fault_lock);
}

void faults_read(const char *text) {
    char name[64];
    while (text && *text) {
        unsigned long nth = 0;
        int error = 0, used = 0;
        if (sscanf(text, "%63[^:]:%lu:%d%n", name, &nth, &error, &used) < 3 || used == 0) {
            fprintf(stderr, "simulated GPU: SIM_FAULT=%s: expected name:nth:error[,...]\n", text);
            return;
        }
        fault_add(name, nth, error);
        text += used;
        if (*text == ',') text++;
        else return;
    }
}

static CUresult fault_for(const char *name) {
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&fault_lock);
    for (int i = 0; i < MAX_FAULTS && result == CUDA_SUCCESS; i++)
        if (faults[i].used && fault_covers(faults[i].name, name)) {
            faults[i].seen++;
            if (faults[i].nth == 0 || faults[i].seen == faults[i].nth) result = faults[i].error;
        }
    pthread_mutex_unlock(&fault_lock);
    return result;
}

CUresult call_enter_slow(int id, int flags) {
    if (opt.log) sim_log("%s%s", names[id], self.per_thread ? " (per-thread)" : "");
    if (sim_forked && !mutated(MUTATION_fork_child)) return flags & CALL_NEEDS_INIT || id == ID_cuInit ? CUDA_ERROR_NOT_INITIALIZED : CUDA_SUCCESS;
    if ((flags & CALL_NEEDS_INIT) && !atomic_load(&sim_initialised)) return CUDA_ERROR_NOT_INITIALIZED;
    if (self.in_callback && (flags & CALL_NEEDS_INIT)) return CUDA_ERROR_NOT_PERMITTED;
    TRY(fault_for(names[id]));
    if (opt.cost) cost_spend(id);
    if (flags & CALL_CAPTURE_UNSAFE) return capture_check_unsafe(id);
    return CUDA_SUCCESS;
}

CUresult call_failed(int id, CUresult result) {
    if (result == CUDA_SUCCESS || result == CUDA_ERROR_NOT_READY) return result;
    atomic_fetch_add_explicit(&entry_slot->wrong[id], 1, memory_order_relaxed);
    if (opt.log) sim_log("%s -> %d", names[id], (int)result);
    return result;
}

CUresult call_declined(int id) {
    call_count(id);
    if (opt.log) sim_log("%s is declined", names[id]);
    return call_failed(id, atomic_load(&sim_initialised) ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_NOT_INITIALIZED);
}
