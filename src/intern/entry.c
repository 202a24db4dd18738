/* entry.c: what all entries have in common; see entry.h. */
#include "intern/entry.h"

uint64_t entry_time_unit = 1;
_Atomic int entry_ended;
