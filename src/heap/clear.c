/* clear.c: see clear.h. The kernel decides whether a range may be given back: MADV_FREE refuses all that is not private,
 * anonymous and unlocked, so it is asked first; then MADV_DONTNEED drops the pages. Either failing leaves memory whose
 * content is void but which the caller is about to write anyway. */
#include "heap/clear.h"
#include "heap/huge.h"
#include "heap/reach.h"
#include "heap/shared.h"
#include "heap/thread.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/sys.h"
#include "stats/counters.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, SITES = 256, WATCHED = 16, SAMPLES = 32, ENOUGH = 3, TRY_AGAIN = 64 };
#define LOOK_AFTER_NS 2000000u

static _Atomic int pins;
static _Atomic bool forbidden;

/* What is known of a caller: how often its cleared memory was found filled (dense) or mostly untouched a little later. */
struct clear_site {
    _Atomic uintptr_t address;
    _Atomic uint32_t dense, sparse, skipped;
};
static struct clear_site sites[SITES];
/* Clears whose memory is to be looked at; under the lock, which nobody waits for. */
static struct { uintptr_t at; size_t length; uint64_t when; struct clear_site *site; } watched[WATCHED];
static unsigned watch_next;
static struct lock watch_lock = LOCK_INIT(RANK_HEAP);

/* A clear under way ends first, or the device would be given pages that are just going. */
void heap_pins_add(int count) {
    heap_thread.inside++, reach_wait();
    atomic_fetch_add(&pins, count);
    reach_go_on(), heap_thread.inside--;
}
void heap_clear_forbid(void) { atomic_store(&forbidden, true); }

/* Is any page of the process pinned? Unreadable counts as yes. */
static bool kernel_sees_pins(void) {
    char status[4096];
    if (sys_read_file("/proc/self/status", status, sizeof status) <= 0) return true;
    const char *line = strstr(status, "\nVmPin:");
    if (!line) return true;
    for (line += 7; *line == ' ' || *line == '\t'; line++) {}
    return !(line[0] == '0' && line[1] == ' ');
}

static struct clear_site *site_of(const void *caller) {
    uintptr_t address = (uintptr_t)caller;
    for (unsigned i = 0; i < 8; i++) {
        struct clear_site *s = &sites[(address / 4 + i) % SITES];
        uintptr_t there = atomic_load(&s->address);
        if (there == 0 && atomic_compare_exchange_strong(&s->address, &there, address)) return s;
        if (there == address) return s;
    }
    return NULL; /* too many: not learned, cleared lazily */
}

/* Sites that fill densely clear by writing; now and then one more lazy clear shows whether that still holds. */
static bool fills_at_once(struct clear_site *s) {
    uint32_t dense = atomic_load(&s->dense);
    return dense >= ENOUGH && dense > 3 * atomic_load(&s->sparse) && atomic_fetch_add(&s->skipped, 1) % TRY_AGAIN != TRY_AGAIN - 1;
}

/* Of a sample of the pages, were at least half touched since? */
static bool was_touched(uintptr_t at, size_t length) {
    unsigned touched = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        unsigned char resident = 0;
        uintptr_t page = (at + length / SAMPLES * i) & -(uintptr_t)PAGE;
        touched += mincore((void *)page, PAGE, &resident) == 0 && (resident & 1);
    }
    return touched * 2 >= SAMPLES;
}

/* The whole pages go back, unless somebody has registered memory meanwhile. */
static bool give_back(void *first, size_t length) {
    heap_thread.inside++, reach_wait();
    bool gone = atomic_load(&pins) == 0 && (heap_unshare(first, length) || (madvise(first, length, MADV_FREE) == 0 && madvise(first, length, MADV_DONTNEED) == 0));
    reach_go_on(), heap_thread.inside--;
    return gone;
}

/* Before a clear, which may be of the same memory: what has become of earlier ones? */
static void look(void) {
    if (!lock_try(&watch_lock)) return;
    uint64_t now = clock_ns();
    for (unsigned i = 0; i < WATCHED; i++) {
        if (!watched[i].site || now - watched[i].when < LOOK_AFTER_NS) continue;
        atomic_fetch_add(was_touched(watched[i].at, watched[i].length) ? &watched[i].site->dense : &watched[i].site->sparse, 1);
        watched[i].site = NULL;
    }
    lock_release(&watch_lock);
}

static void watch(uintptr_t at, size_t length, struct clear_site *site) {
    if (!site || !lock_try(&watch_lock)) return;
    unsigned i = watch_next++ % WATCHED;
    watched[i].at = at, watched[i].length = length, watched[i].when = clock_ns(), watched[i].site = site;
    lock_release(&watch_lock);
}

bool heap_clear(void *p, size_t length, const void *caller, heap_fill *fill) {
    if (atomic_load(&forbidden)) return false;
    struct clear_site *site = site_of(caller);
    look();
    if (!option_number(lazy_clear) || atomic_load(&pins) > 0 || (site && fills_at_once(site)) || kernel_sees_pins())
        return false;
    uintptr_t from = (uintptr_t)p, to = from + length;
    uintptr_t first = (from + PAGE - 1) & -(uintptr_t)PAGE, last = to & -(uintptr_t)PAGE;
    int saved = errno;
    bool gone = give_back((void *)first, last - first);
    if (gone) {
        fill(p, 0, first - from);
        fill((void *)last, 0, to - last);
        counter_add(&counters->host.cleared_bytes, last - first);
        heap_huge_sparse(first, last - first);
        watch(first, last - first, site);
    }
    errno = saved;
    return gone;
}
