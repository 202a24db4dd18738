/* simctl.c: libcoppice-simctl.so. Reading is done on the shared file of the set; control goes through the driver's table. */
#define _GNU_SOURCE
#include "set.h"
#include "simctl_table.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

static const struct simctl_table *driver(void) {
    static const struct simctl_table *table;
    if (table) return table;
    void *cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (!cuda) cuda = dlopen("libcuda.so.1", RTLD_NOW);
    const struct simctl_table *t = cuda ? dlsym(cuda, "coppice_sim_control") : NULL;
    if (t && t->version == SIMCTL_TABLE_VERSION) table = t;
    return table;
}

/* Locked and without the dead; give it back with `leave`. */
static struct set *enter(const char *name) {
    struct set *set = set_open(name, false, 0, 0);
    if (!set) return NULL;
    set_lock(set);
    set_reap(set);
    return set;
}

static void leave(struct set *set) {
    set_unlock(set);
    munmap(set, sizeof *set);
}

API bool simctl_device(const char *name, int pid, int device, struct simctl_device *out) {
    if (device < 0 || device >= SET_DEVICES || !out) return false;
    struct set *set = enter(name);
    if (!set) return false;
    const struct set_usage *u = pid ? NULL : &set->dev[device];
    for (int s = 0; s < (int)set->slots_used && !u; s++)
        if (set->slot[s].pid == (uint32_t)pid) u = &set->slot[s].dev[device];
    if (u) *out = (struct simctl_device){ set->capacity[device], u->live, u->reserved, u->peak_live, u->peak_reserved, u->allocs, u->frees };
    leave(set);
    return u != NULL;
}

API bool simctl_reset_peaks(const char *name) {
    struct set *set = enter(name);
    if (!set) return false;
    for (int d = 0; d < SET_DEVICES; d++) {
        set->dev[d].peak_live = set->dev[d].live;
        set->dev[d].peak_reserved = set->dev[d].reserved;
        for (int s = 0; s < (int)set->slots_used; s++) {
            set->slot[s].dev[d].peak_live = set->slot[s].dev[d].live;
            set->slot[s].dev[d].peak_reserved = set->slot[s].dev[d].reserved;
        }
    }
    leave(set);
    return true;
}

static uint64_t sum(const char *name, int pid, const char *function, bool wrong) {
    uint64_t total = 0;
    struct set *set = enter(name);
    if (!set) return 0;
    for (uint32_t n = 0; n < set->names; n++) {
        if (function && strcmp(function, set->name[n]) != 0) continue;
        if (!pid) total += wrong ? set->past_wrong[n] : set->past_calls[n];
        for (int s = 0; s < (int)set->slots_used; s++)
            if (set->slot[s].pid && (!pid || set->slot[s].pid == (uint32_t)pid))
                total += atomic_load(wrong ? &set->slot[s].wrong[n] : &set->slot[s].calls[n]);
    }
    leave(set);
    return total;
}

API uint64_t simctl_calls(const char *name, int pid, const char *function) { return sum(name, pid, function, false); }
API uint64_t simctl_wrong_calls(const char *name, int pid, const char *function) { return sum(name, pid, function, true); }

API int simctl_processes(const char *name, int *pids, int max) {
    int n = 0;
    struct set *set = enter(name);
    if (!set) return 0;
    for (int s = 0; s < (int)set->slots_used; s++)
        if (set->slot[s].pid) {
            if (n < max && pids) pids[n] = (int)set->slot[s].pid;
            n++;
        }
    leave(set);
    return n;
}

API bool simctl_dump(const char *name, int fd) {
    struct set *set = enter(name);
    if (!set) return false;
    for (uint32_t d = 0; d < set->devices; d++) {
        const struct set_usage *u = &set->dev[d];
        dprintf(fd, "device %u capacity %llu live %llu reserved %llu peak_live %llu peak_reserved %llu allocs %llu frees %llu\n", d,
                (unsigned long long)set->capacity[d], (unsigned long long)u->live, (unsigned long long)u->reserved,
                (unsigned long long)u->peak_live, (unsigned long long)u->peak_reserved, (unsigned long long)u->allocs, (unsigned long long)u->frees);
    }
    for (int s = 0; s < (int)set->slots_used; s++)
        if (set->slot[s].pid)
            dprintf(fd, "process %u %s live %llu reserved %llu\n", set->slot[s].pid, set->slot[s].command,
                    (unsigned long long)set->slot[s].dev[0].live, (unsigned long long)set->slot[s].dev[0].reserved);
    for (uint32_t n = 0; n < set->names; n++) {
        uint64_t calls = set->past_calls[n], wrong = set->past_wrong[n];
        for (int s = 0; s < (int)set->slots_used; s++) calls += set->slot[s].calls[n], wrong += set->slot[s].wrong[n];
        if (calls) dprintf(fd, "calls %s %llu wrong %llu\n", set->name[n], (unsigned long long)calls, (unsigned long long)wrong);
    }
    leave(set);
    return true;
}

API bool simctl_remove(const char *name) { return set_remove(name); }

API bool simctl_present(void) { return driver() != NULL; }

API bool simctl_register_twin_sized(const char *kernel, simctl_twin *twin, void *user, int count, const size_t *sizes) {
    return driver() && driver()->add_twin(kernel, twin, user, count, sizes);
}

API bool simctl_register_twin(const char *kernel, simctl_twin *twin) { return simctl_register_twin_sized(kernel, twin, NULL, 0, NULL); }
API bool simctl_remove_twin(const char *kernel) { return simctl_register_twin_sized(kernel, NULL, NULL, 0, NULL); }
API void *simctl_touch(uint64_t pointer, size_t size, bool write) { return driver() ? driver()->touch(pointer, size, write) : NULL; }
API void *simctl_peek(uint64_t pointer, size_t size) { return driver() ? driver()->peek(pointer, size) : NULL; }
API bool simctl_fault(const char *function, unsigned long nth, int error) { return driver() && driver()->add_fault(function, nth, error); }

API bool simctl_clear_faults(void) {
    if (driver()) driver()->clear_faults();
    return driver() != NULL;
}

API bool simctl_seed(uint64_t seed) {
    if (driver()) driver()->set_seed(seed);
    return driver() != NULL;
}
