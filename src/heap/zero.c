/* zero.c: see zero.h. Nothing here lies in the heap itself: while a chunk is out of reach its owner may not touch the heap. */
#include "heap/zero.h"
#include "base/scratch.h"
#include "base/sys.h"
#include "heap/heap.h"
#include "heap/reach.h"
#include "heap/shared.h"
#include "heap/typed.h"
#include "stats/counters.h"
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENTS = 8, PAGE = REACH_PAGE, WORDS = REACH_PAGES / 64, REGIONS = 64, WORTH = 16 /* pages of a chunk */, LONGEST_REST = 64 };
#define LITTLE ((uint64_t)1 << 20)
#define STRIDE ((uint64_t)8 << 20)  /* looked for pages in one call */
#define AT_ONCE ((size_t)128 << 10) /* read: little enough to stay in a cache until it is looked at */

/* Newer than the headers that we build with (linux/fs.h of 6.7). */
struct region { uint64_t start, end, categories; };
struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask, return_mask;
};
enum { IS_FILE = 1 << 2, IS_PRESENT = 1 << 3, IS_ZERO_PAGE = 1 << 5 };
#define IOCTL_SCAN _IOWR('f', 16, struct scan)

/* Which pages of a chunk were zero at the last look. */
struct chunk { uint64_t zero[WORDS]; };
static struct chunk *chunks[SEGMENTS]; /* of each segment, by distance from its base */
static size_t chunk_count[SEGMENTS];

/* The pass: where it is, and what it brought. */
static struct {
    unsigned segment;
    uintptr_t at; /* 0: at the segment's base */
    uint64_t dropped, fresh; /* bytes; zero now and not at the last look */
    uint64_t next_ns, rests;
} pass;
static struct sys_file pagemap = { .fd = -1 }; /* this and the content are open during a look only */
static struct scratch content;

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool is_zero(const unsigned char *page) {
    const uint64_t *word = (const uint64_t *)(const void *)page;
    for (unsigned i = 0; i < PAGE / 8; i += 8)
        if (word[i] | word[i + 1] | word[i + 2] | word[i + 3] | word[i + 4] | word[i + 5] | word[i + 6] | word[i + 7]) return false;
    return true;
}

static bool bit(const uint64_t *set, unsigned i) { return set[i / 64] >> (i % 64) & 1; }
static void set_bit(uint64_t *set, unsigned i) { set[i / 64] |= (uint64_t)1 << (i % 64); }
static unsigned count_of(const uint64_t *set) {
    unsigned n = 0;
    for (unsigned i = 0; i < WORDS; i++) n += (unsigned)__builtin_popcountll(set[i]);
    return n;
}

/* --- dropping */

/* Candidates of the chunk at `base` that are zero now, when nobody can reach them. */
static uint64_t drop(uintptr_t base, const uint64_t *candidates) {
    static struct reach r;
    unsigned first = 0, end = REACH_PAGES, dropped = 0;
    while (!bit(candidates, first)) first++;
    while (!bit(candidates, end - 1)) end--;
    if (!reach_out(&r, (void *)(base + (uintptr_t)first * PAGE), end - first)) return 0;
    for (unsigned i = 0; i < r.pages; i++) {
        if (r.state[i] != REACH_OUT || !bit(candidates, first + i) || !is_zero((const unsigned char *)r.look + (size_t)i * PAGE)) continue;
        reach_drop(&r, i);
        dropped++;
    }
    reach_back(&r);
    return (uint64_t)dropped * PAGE;
}

/* --- looking */

/* What was zero in the chunk at the last look; NULL: there is no room to remember. */
static struct chunk *chunk_of(unsigned segment, uintptr_t base, uintptr_t at) {
    size_t index = (at - base / REACH_CHUNK * REACH_CHUNK) / REACH_CHUNK;
    if (!chunks[segment]) {
        chunk_count[segment] = (heap_first.length > STRIDE && segment == 0 ? heap_first.length : (size_t)64 << 30) / REACH_CHUNK + 2;
        chunks[segment] = sys_map(NULL, chunk_count[segment] * sizeof(struct chunk), PROT_READ | PROT_WRITE);
    }
    return chunks[segment] && index < chunk_count[segment] ? &chunks[segment][index] : NULL;
}

/* Pages [at, end) of one chunk, all there. Marks those that are zero. */
static void look_at(uintptr_t chunk, uintptr_t at, uintptr_t end, uint64_t *zero) {
    for (size_t got; at < end && (got = scratch_read(&content, at, end - at)) >= PAGE; at += got) {
        got -= got % PAGE;
        for (size_t i = 0; i < got; i += PAGE)
            if (is_zero(content.bytes + i)) set_bit(zero, (unsigned)((at - chunk + i) / PAGE));
    }
}

/* Decides about a chunk whose pages that are there have been looked at. */
static void settle(unsigned segment, uintptr_t base, uintptr_t chunk, const uint64_t *zero) {
    struct chunk *seen = chunk_of(segment, base, chunk);
    uint64_t candidates[WORDS];
    if (!seen) return;
    for (unsigned i = 0; i < WORDS; i++) {
        candidates[i] = seen->zero[i] & zero[i];
        pass.fresh += (uint64_t)__builtin_popcountll(zero[i] & ~seen->zero[i]) * PAGE;
    }
    memcpy(seen->zero, zero, sizeof seen->zero);
    if (count_of(candidates) < WORTH) return;
    uint64_t bytes = drop(chunk, candidates);
    pass.dropped += bytes;
    counter_add(&counters->host.reclaimed_bytes, bytes);
}

/* The regions with pages of our own in [at, end), at most REGIONS; where the kernel stopped in *stopped. */
static int present_in(uintptr_t at, uintptr_t end, struct region *regions, uintptr_t *stopped) {
    struct scan s = { .size = sizeof s, .start = at, .end = end, .vec = (uintptr_t)regions, .vec_len = REGIONS,
        .category_inverted = IS_FILE | IS_ZERO_PAGE, .category_mask = IS_PRESENT | IS_FILE | IS_ZERO_PAGE, .return_mask = IS_PRESENT };
    int count = ioctl(pagemap.fd, IOCTL_SCAN, &s);
    *stopped = s.walk_end > at ? s.walk_end : end;
    return count;
}

/* One call's worth of the segment, from `at` on; whole chunks. Returns where to go on; 0 when the kernel cannot say. */
static uintptr_t look_over(unsigned segment, uintptr_t base, uintptr_t at, uintptr_t top) {
    struct region regions[REGIONS];
    uintptr_t end = top - at > STRIDE ? at + STRIDE : top, stopped, chunk = 0;
    uint64_t zero[WORDS];
    int count = present_in(at, end, regions, &stopped);
    if (count < 0) return 0;
    if (stopped < end) { /* the last chunk may not be whole: it is for the next call, unless it is all that there is */
        uintptr_t whole = stopped & -(uintptr_t)REACH_CHUNK;
        stopped = whole > at ? whole : (at & -(uintptr_t)REACH_CHUNK) + REACH_CHUNK;
    }
    for (int i = 0; i < count; i++) {
        for (uintptr_t from = regions[i].start, to; from < regions[i].end && from < stopped; from = to) {
            uintptr_t own = from & -(uintptr_t)REACH_CHUNK;
            to = regions[i].end < own + REACH_CHUNK ? regions[i].end : own + REACH_CHUNK;
            if (own != chunk) {
                if (chunk) settle(segment, base, chunk, zero);
                chunk = own, memset(zero, 0, sizeof zero);
            }
            look_at(own, from, to, zero);
            counter_add(&counters->host.zero_looked_bytes, to - from);
        }
    }
    if (chunk) settle(segment, base, chunk, zero);
    return stopped;
}

/* --- passes */

static void begin_rest(uint64_t now_ns, uint64_t rest_ns) {
    uint64_t longer = pass.rests * 2;
    pass.rests = pass.dropped + pass.fresh >= LITTLE || longer == 0 ? 1 : longer < LONGEST_REST ? longer : LONGEST_REST;
    pass.next_ns = now_ns + rest_ns * pass.rests;
    pass.segment = 0, pass.at = 0, pass.dropped = 0, pass.fresh = 0;
}

/* The next piece; false: the pass is over. */
static bool go_on(void) {
    uintptr_t base, top;
    if (pass.segment >= SEGMENTS || !heap_segment(pass.segment, &base, &top)) return false;
    if (pass.at < base) pass.at = base;
    uintptr_t next = pass.at < top ? look_over(pass.segment, base, pass.at, top) : top;
    if (next == 0) return false;
    pass.at = next;
    if (next >= top) pass.segment++, pass.at = 0;
    return true;
}

static bool open_files(void) {
    pagemap = sys_file_of(sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0));
    return pagemap.fd >= 0 && scratch_open(&content, AT_ONCE);
}

static void close_files(void) {
    sys_file_close(&pagemap);
    scratch_close(&content);
}

uint64_t heap_zero_look(uint64_t now_ns, uint64_t budget_ns, uint64_t rest_ns) {
    uint64_t before = counter_get(&counters->host.reclaimed_bytes), start = cpu_ns();
    if (now_ns < pass.next_ns || heap_typed_keeps_any()) return 0; /* what is kept for ever stays where it is */
    if (!reach_possible()) {
        counter_set(&counters->host.zero_state, ZERO_REFUSED);
        pass.next_ns = UINT64_MAX;
        return 0;
    }
    counter_set(&counters->host.zero_state, ZERO_AT_WORK);
    bool more = open_files();
    while (more && cpu_ns() - start < budget_ns) more = go_on();
    close_files();
    if (!more) begin_rest(now_ns, rest_ns);
    counter_add(&counters->host.zero_cpu_ns, cpu_ns() - start);
    return counter_get(&counters->host.reclaimed_bytes) - before;
}

void heap_zero_fork_child(void) {
    memset(&pass, 0, sizeof pass);
    for (unsigned i = 0; i < SEGMENTS; i++)
        if (chunks[i]) sys_advise(chunks[i], chunk_count[i] * sizeof(struct chunk), MADV_DONTNEED);
    close_files();
}
