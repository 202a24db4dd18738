/* libc_malloc_info.c: what glibc's allocator tells of itself, told of ours. The knobs of mallopt are glibc's own (arenas,
 * thresholds); they are accepted, as glibc accepts those that have no effect. */
#include "hook.h"
#include "stats/totals.h"
#include <limits.h>

struct mallinfo2 mallinfo2(void);
struct mallinfo mallinfo(void);

EXPORT int malloc_trim(size_t pad) {
    if (hook_turn() == PASS) return next.malloc_trim ? next.malloc_trim(pad) : 0;
    return heap_trim();
}

EXPORT int mallopt(int parameter, int value) {
    if (hook_turn() == PASS) return next.mallopt ? next.mallopt(parameter, value) : 0;
    return 1;
}

/* arena: memory of the heap; uordblks: in use; fordblks: free, kept */
EXPORT struct mallinfo2 mallinfo2(void) {
    if (hook_turn() == PASS) return next.mallinfo2 ? next.mallinfo2() : (struct mallinfo2){ 0 };
    uint64_t epoch = 1;
    size_t resident = 0, length = sizeof resident, live = counters_host_totals(counters).live_bytes;
    heap_publish();
    je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    je_mallctl("stats.resident", &resident, &length, NULL, 0);
    if (resident < live) resident = live;
    return (struct mallinfo2){ .arena = resident, .uordblks = live, .fordblks = resident - live };
}

static int clamped(size_t n) { return n > INT_MAX ? INT_MAX : (int)n; }

EXPORT struct mallinfo mallinfo(void) {
    if (hook_turn() == PASS) return next.mallinfo ? next.mallinfo() : (struct mallinfo){ 0 };
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){ .arena = clamped(m.arena), .uordblks = clamped(m.uordblks), .fordblks = clamped(m.fordblks) };
}

EXPORT void malloc_stats(void) {
    if (hook_turn() == PASS) {
        if (next.malloc_stats) next.malloc_stats();
        return;
    }
    struct mallinfo2 m = mallinfo2();
    fprintf(stderr, "Arena 0:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n", m.arena, m.uordblks);
}

EXPORT int malloc_info(int options, FILE *file) {
    if (hook_turn() == PASS && next.malloc_info) return next.malloc_info(options, file);
    if (options != 0) return EINVAL;
    struct mallinfo2 m = mallinfo2();
    fprintf(file, "<malloc version=\"1\">\n<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n<system type=\"current\" size=\"%zu\"/>\n"
                  "<aspace type=\"total\" size=\"%zu\"/>\n</malloc>\n", m.fordblks, m.arena, heap_reserved_bytes());
    return 0;
}
