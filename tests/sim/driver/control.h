/* control.h: how tests reach into this process's simulated driver (libcoppice-simctl goes through coppice_sim_control).
 * A *twin* is a host function that stands in for a kernel, found by the kernel's name. */
#ifndef SIM_CONTROL_H
#define SIM_CONTROL_H
#include "simctl.h"
#include "sim.h"

extern bool sim_forked;
extern struct set *sim_set;              /* NULL before cuInit */
extern int sim_slot;

bool fault_add(const char *name, unsigned long nth, int error);
void fault_clear(void);
void faults_read(const char *text);
void entry_join(struct set *set, int me);
void entry_leave(void);

struct twin { char name[256]; simctl_twin *run; void *user; int count; size_t sizes[SIMCTL_MAX_PARAMS]; struct twin *next; };
const struct twin *twin_find(const char *kernel);
#endif
