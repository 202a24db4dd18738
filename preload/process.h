/* process.h: which process this is, for hooks that must know a vfork's child from its parent. */
#ifndef COPPICE_PRELOAD_PROCESS_H
#define COPPICE_PRELOAD_PROCESS_H
#include <stdbool.h>

/* A child of vfork or of a raw clone runs in its parent's memory, or in a copy that no handler has seen: what it does to
 * our state would be done to the parent's. */
bool process_is_a_guest(void);

/* control.c */
void control_start(void);
/* signals.c */
void signals_start(void);
void signals_fork_child(void);
#endif
