/* limits.c: calls that would count our untouched address space against the program: mlockall and a lower RLIMIT_AS.
 * The untouched part is given back first; the heap then grows in small segments. Locked pages are left where they are. */
#include "base/start.h"
#include "heap/heap.h"
#include "heap/reach.h"
#include "heap/thread.h"
#include "next.h"
#include <errno.h>

static void make_room(int resource, const struct rlimit *limit) {
    if (coppice_on() && resource == RLIMIT_AS && limit && limit->rlim_cur != RLIM_INFINITY) heap_release_tail();
}

static int unknown(void) {
    errno = ENOSYS;
    return -1;
}

EXPORT int mlockall(int flags) {
    if (coppice_on()) heap_release_tail(), heap_thread.inside++, reach_stop(), heap_thread.inside--;
    return NEXT_READY(mlockall) ? next.mlockall(flags) : unknown();
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
    make_room((int)resource, limit);
    return NEXT_READY(setrlimit) ? next.setrlimit((int)resource, limit) : unknown();
}

EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *limit, struct rlimit *old) {
    if (pid == 0 || pid == getpid()) make_room((int)resource, limit);
    return NEXT_READY(prlimit) ? next.prlimit(pid, (int)resource, limit, old) : unknown();
}

/* On 64-bit machines the two layouts are one. */
EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit) { return setrlimit(resource, (const struct rlimit *)limit); }
EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *limit, struct rlimit64 *old) {
    return prlimit(pid, resource, (const struct rlimit *)limit, (struct rlimit *)old);
}
