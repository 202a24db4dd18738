/* own_jemalloc: a program written for jemalloc (as redis is) finds one jemalloc, ours, with memory that malloc and free know; what configures
 * the program's own does not configure it.
 * env: MALLOC_CONF=narenas:1,junk:true,abort_conf:true,nonsense:1 */
#include "program.h"
#include <stdint.h>

int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));
void *mallocx(size_t, int) __attribute__((weak));
void *rallocx(void *, size_t, int) __attribute__((weak));
size_t xallocx(void *, size_t, size_t, int) __attribute__((weak));
size_t sallocx(const void *, int) __attribute__((weak));
void dallocx(void *, int) __attribute__((weak));
void sdallocx(void *, size_t, int) __attribute__((weak));
size_t nallocx(size_t, int) __attribute__((weak));
void malloc_stats_print(void (*)(void *, const char *), void *, const char *) __attribute__((weak));
const char *malloc_conf = "narenas:1,junk:true";

static int printed;
static void count(void *opaque, const char *text) { printed += (int)strlen(text); }

int main(void) {
    CHECK(mallctl && mallocx && rallocx && xallocx && sallocx && dallocx && sdallocx && nallocx && malloc_stats_print);
    uint64_t *allocated, before;
    size_t length = sizeof allocated;
    CHECK(mallctl("thread.allocatedp", &allocated, &length, NULL, 0) == 0);
    before = *allocated;
    void *p = malloc(1000); /* folly and others tell a jemalloc by this */
    CHECK(*allocated >= before + 1000);
    dallocx(p, 0);
    p = mallocx(1000, 12 | 64);
    CHECK((uintptr_t)p % 4096 == 0 && *(char *)p == 0 && sallocx(p, 0) == nallocx(1000, 12));
    free(p);
    p = rallocx(mallocx(10, 0), 100000, 0);
    CHECK(xallocx(p, 100000, 0, 0) >= 100000);
    sdallocx(p, 100000, 0);
    for (int i = 0; i < 1000; i++) dallocx(malloc((size_t)i), 0), free(mallocx((size_t)i + 1, 0));
    const char *junk;
    length = sizeof junk;
    CHECK(mallctl("opt.junk", &junk, &length, NULL, 0) == 0 && strcmp(junk, "false") == 0);
    void *hooks = NULL;
    CHECK(mallctl("arena.0.extent_hooks", NULL, NULL, &hooks, sizeof hooks) != 0); /* they would bring foreign memory */
    malloc_stats_print(count, NULL, "a");
    CHECK(printed > 100);
    return 0;
}
