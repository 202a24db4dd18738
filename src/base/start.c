/* start.c: the mode of start.h. preload/process.c settles it; programs that link the library's parts without the hooks
 * (the unit tests) are in force from the start. */
#include "base/start.h"

_Atomic int coppice_mode_now = MODE_BOOT;

__attribute__((weak)) enum coppice_mode coppice_start(void) {
    atomic_store(&coppice_mode_now, MODE_ON);
    return MODE_ON;
}
