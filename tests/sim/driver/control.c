/* control.c: the one door through which tests reach into the driver: a table of functions, exported as coppice_sim_control
 * and used by libcoppice-simctl. Twins live here. */
#include "control.h"
#include "entry.h"
#include "memory.h"
#include "simctl_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct twin *twins;               /* never freed: a launch may be using one; a later registration hides an earlier */
static _Atomic int twin_count;

const struct twin *twin_find(const char *kernel) {
    if (atomic_load(&twin_count) == 0) return NULL;
    pthread_rwlock_rdlock(&lock);
    const struct twin *t = twins;
    while (t && strcmp(t->name, kernel) != 0) t = t->next;
    pthread_rwlock_unlock(&lock);
    return t && t->run ? t : NULL;
}

static bool twin_add(const char *kernel, simctl_twin *run, void *user, int count, const size_t *sizes) {
    if (!kernel || strlen(kernel) >= sizeof ((struct twin *)0)->name || count < 0 || count > SIMCTL_MAX_PARAMS) return false;
    struct twin *t = calloc(1, sizeof *t);
    strcpy(t->name, kernel);
    t->run = run;
    t->user = user;
    t->count = count;
    if (count) memcpy(t->sizes, sizes, sizeof *sizes * (size_t)count);
    pthread_rwlock_wrlock(&lock);
    t->next = twins;
    twins = t;
    pthread_rwlock_unlock(&lock);
    atomic_fetch_add(&twin_count, 1);
    return true;
}

extern __thread CUcontext twin_context;

/* NULL and the sticky error when a kernel would have faulted. */
static void *touch(uint64_t pointer, size_t size, bool write) {
    void *p = in_window(pointer) ? space_touch(pointer, size, write)
            : host_find((void *)(uintptr_t)pointer, NULL) ? (void *)(uintptr_t)pointer : NULL;
    if (!p) sim_misuse("a kernel touches %zu bytes that are not there (%#llx)", size, (u64)pointer);
    if (!p && twin_context) context_fault(twin_context, CUDA_ERROR_ILLEGAL_ADDRESS);
    return p;
}

static void *peek(uint64_t pointer, size_t size) {
    pthread_mutex_lock(&memory_lock);
    struct block *b = in_window(pointer) ? space_find(pointer) : NULL;
    bool inside = b && pointer + size <= b->base + b->size;
    pthread_mutex_unlock(&memory_lock);
    return inside ? alias(pointer) : NULL;
}

static void set_seed(uint64_t seed) { opt.seed = seed; }

EXPORT const struct simctl_table coppice_sim_control;
const struct simctl_table coppice_sim_control = {
    .version = SIMCTL_TABLE_VERSION, .add_twin = twin_add, .touch = touch, .peek = peek, .add_fault = fault_add,
    .clear_faults = fault_clear, .set_seed = set_seed,
};
