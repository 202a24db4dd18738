/* start.h: is Coppice in force in this process?
 * The *mode* is settled once: BOOT until the environment can be read, then ON or OFF for the life of the process.
 * In BOOT, memory comes from the bootstrap arena; in OFF every hook passes through. */
#ifndef COPPICE_BASE_START_H
#define COPPICE_BASE_START_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>

enum coppice_mode { MODE_BOOT, MODE_ON, MODE_OFF };
extern _Atomic int coppice_mode_now;

static inline bool coppice_on(void) { return atomic_load_explicit(&coppice_mode_now, memory_order_relaxed) == MODE_ON; }
/* Settles the mode if the environment is there: loads the options, opens the counters. Returns the mode. Safe to call
 * from any hook at any time; takes RANK_START only while in BOOT. Does not allocate. */
enum coppice_mode coppice_start(void) COLD;
#endif
