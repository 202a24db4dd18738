/* stack.h: who called whom, for the few requests whose rule asks for it.
 * The *unwinder* is libunwind where the machine has it (a walk of a dozen frames costs some 100 ns), else the C++ runtime's
 * own where the process has that loaded (some 10 us). It is found once, outside malloc, with RTLD_LOCAL: were it visible it
 * would take C++ exceptions over. Without either no rule with `@` holds. */
#ifndef COPPICE_SITES_STACK_H
#define COPPICE_SITES_STACK_H
#include <stdbool.h>

enum { STACK_MOST = 48 };

/* Finds the unwinder and walks once, so that no later walk has to load anything; false: there is none, so far. Call outside malloc;
 * idempotent. */
bool stack_prime(void);
/* The return addresses of the calling thread, innermost first; returns how many, 0 where there is no unwinder. */
int stack_walk(void **frames, int most);
#endif
