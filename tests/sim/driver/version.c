/* version.c: which driver the library is. One object for each version: build/sim/libcuda.so.1 is the newest, and
 * build/sim/<version>/libcuda.so.1 an older one, which lacks the exports that came later. */
#include "sim.h"

const int sim_driver_version = VERSION;
