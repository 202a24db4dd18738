/* intern.c: the public functions of equal contents, as coppice.h has them: guard, call, return. */
#include "base/hints.h"
#include "base/start.h"
#include "coppice/coppice.h"
#include "intern/table.h"
#include <errno.h>
#include <stdlib.h>

/* The table is made at the first call, which may come before any constructor of ours. */
static inline bool at_work(void) { return intern_ready() || (coppice_start() == MODE_ON && intern_start()); }

EXPORT const void *coppice_intern(const void *bytes, size_t length, uint32_t tag) { return at_work() ? intern(bytes, length, tag) : NULL; }

EXPORT void coppice_release(const void *interned) {
    if (interned && intern_ready()) intern_release(interned);
}

EXPORT const void *coppice_params_intern(const coppice_params *params, size_t *length) {
    unsigned char most[512], *bytes = most;
    int saved = errno;
    size_t n = coppice_params_encode(params, most, sizeof most);
    if (n > sizeof most && (bytes = malloc(n)) != NULL) coppice_params_encode(params, bytes, n);
    const void *interned = bytes ? coppice_intern(bytes, n, COPPICE_PARAMS_TAG) : NULL;
    if (bytes != most) free(bytes);
    if (length) *length = n;
    errno = saved;
    return interned;
}
