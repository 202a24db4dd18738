/* huge.c: see huge.h. */
#include "heap/huge.h"
#include "base/options.h"
#include "base/sys.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { ADVISED_MOST = 4096 }; /* ranges; each may cost the process two mappings more */
#define HUGE_PAGE ((size_t)2 << 20)

bool heap_huge_allowed(void) { return option_number(thp) != THP_NEVER; }

void heap_huge_segment(void *at, size_t length) {
    if (option_number(thp) != THP_AUTO) sys_advise(at, length, option_number(thp) == THP_ALWAYS ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* Does the machine make huge pages of whatever it can? Asked once. */
static bool machine_always_does(void) {
    static _Atomic int answer; /* 1 no, 2 yes */
    char text[128];
    if (atomic_load(&answer) == 0) {
        bool read = sys_read_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text) > 0;
        atomic_store(&answer, read && strstr(text, "[always]") ? 2 : 1);
    }
    return atomic_load(&answer) == 2;
}

void heap_huge_sparse(uintptr_t at, size_t length) {
    static _Atomic unsigned advised;
    uintptr_t first = (at + HUGE_PAGE - 1) & -HUGE_PAGE, end = (at + length) & -HUGE_PAGE;
    if (option_number(thp) != THP_AUTO || first >= end || !machine_always_does()) return;
    if (atomic_fetch_add(&advised, 1) < ADVISED_MOST) sys_advise((void *)first, end - first, MADV_NOHUGEPAGE);
}
