/* simctl_table.h: what libcuda.so.1 (the simulated one) offers to libcoppice-simctl.so, under the name coppice_sim_control. */
#ifndef SIMCTL_TABLE_H
#define SIMCTL_TABLE_H
#include "simctl.h"
enum { SIMCTL_TABLE_VERSION = 1 };
struct simctl_table {
    int version;
    bool (*add_twin)(const char *kernel, simctl_twin *run, void *user, int count, const size_t *sizes);
    void *(*touch)(uint64_t pointer, size_t size, bool write);
    void *(*peek)(uint64_t pointer, size_t size);
    bool (*add_fault)(const char *name, unsigned long nth, int error);
    void (*clear_faults)(void);
    void (*set_seed)(uint64_t seed);
};
#endif
