/* sandbox.c: a process that shuts itself in. Filters of system calls (seccomp) come with prctl, or after a prctl that forbids new
 * privileges; what they forbid may end the process, and nobody has told them of us. So before the first of these calls we do what we
 * would later do from inside malloc, and from then on ask the kernel for nothing but memory: no looks at /proc, no clears in place, and the
 * counters' file stays when the process ends. */
#include "process.h"
#include "base/start.h"
#include "base/sys.h"
#include "heap/budget.h"
#include "heap/clear.h"
#include "heap/heap.h"
#include "heap/thread.h"
#include "next.h"
#include "sites/module.h"
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void prepare(void) {
    if (!coppice_on() || process_is_a_guest()) return;
    int saved = errno;
    module_remember_program();
    heap_settle_child();
    heap_budget_show();
    heap_clear_forbid();
    heap_on_very_large = NULL;
    sys_shut_in();
    errno = saved;
}

EXPORT int prctl(int option, ...) {
    va_list rest;
    va_start(rest, option);
    unsigned long a = va_arg(rest, unsigned long), b = va_arg(rest, unsigned long), c = va_arg(rest, unsigned long), d = va_arg(rest, unsigned long);
    va_end(rest);
    if (option == PR_SET_SECCOMP || option == PR_SET_NO_NEW_PRIVS) prepare();
    /* Nothing is looked up here: that allocates, and a program's own malloc calls prctl to name its memory, holding its lock. */
    return next.prctl ? next.prctl(option, a, b, c, d) : (int)syscall(SYS_prctl, option, a, b, c, d);
}
