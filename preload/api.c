/* api.c: the public functions of include/coppice/coppice.h. */
#include "base/hints.h"
#include "base/version.h"

EXPORT const char *coppice_version(void) { return COPPICE_VERSION; }
