/* observe.c: see observe.h. The table of samples has no lock: a slot belongs to whoever put an address there until that address is
 * freed. */
#include "intern/observe.h"
#include "base/clock.h"
#include "base/sys.h"
#include "heap/jemalloc.h"
#include "heap/kept.h"
#include "heap/structs.h"
#include "heap/thread.h"
#include "stats/counters.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS = 8192, PROBES = 8, PAGE = 4096, PAGES_OF_A_BLOCK = 64, CONTENTS = 65536, STRIDE_MOST = 1 << 20 };
#define LOOK_NS 5000000000u
#define BYTES_A_LOOK ((size_t)32 << 20)

static struct sample {
    _Atomic uintptr_t at; /* 0: free */
    _Atomic size_t size;
    _Atomic uint32_t weight;
} samples[SLOTS];
bool observe_on;
static _Atomic uint32_t turn, stride = 1; /* one in `stride` candidates is taken; it doubles when there is no room */

/* What was read: which group, and the hash of a content (a small block, or a page of a large one). */
struct content { uint32_t group, weight; uint64_t hash; uint32_t bytes; };
static struct content *contents;
static uint32_t content_count;
static unsigned char *buffer;

void observe_start(void) {
    kept_any_large = true; /* frees of page-aligned blocks are looked at */
    heap_credit_samples = observe_on = true;
}

/* --- samples */

static unsigned first_slot(uintptr_t at) { return (unsigned)((at >> 12) * 0x9E3779B1u >> 8) % SLOTS; }

static bool note(uintptr_t at, size_t size, uint32_t weight) {
    for (unsigned i = 0; i < PROBES; i++) {
        struct sample *s = &samples[(first_slot(at) + i) % SLOTS];
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&s->at, &none, 1)) continue;
        atomic_store(&s->size, size), atomic_store(&s->weight, weight);
        atomic_store(&s->at, at);
        return true;
    }
    uint32_t now = atomic_load(&stride);
    if (now < STRIDE_MOST) atomic_compare_exchange_strong(&stride, &now, now * 2);
    return false;
}

/* Loops allocate in rhythm, and every 64th allocation would always be the same one of it: so the distance to the next is 33 to 95. */
static void vary_distance(void) {
    static _Thread_local uint32_t random;
    struct heap_thread *t = &heap_thread;
    random = random * 1664525u + 1013904223u + (uint32_t)(uintptr_t)&random;
    if (t->granted > 0 && t->takes == t->granted && t->gives == t->granted) t->takes = t->gives = t->granted = HEAP_CREDIT / 2 + 1 + (int32_t)(random >> 16) % (HEAP_CREDIT - 1);
}

void *observe_allocated(void *p, size_t size) {
    vary_distance();
    bool large = size >= HEAP_LARGE;
    uint32_t every = atomic_load_explicit(&stride, memory_order_relaxed);
    if (!heap_owns_fast(p) || size == 0 || (!large && atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % every != 0)) return p;
    if ((uintptr_t)p % PAGE != 0) {
        if (large) return p;
        void *own = je_memalign(PAGE, size);
        if (!own) return p;
        memcpy(own, p, size); /* a cleared block stays clear */
        je_free(p);
        p = own;
    }
    note((uintptr_t)p, size, large ? 1 : HEAP_CREDIT * every);
    return p;
}

void observe_freed(void *p) {
    for (unsigned i = 0; i < PROBES; i++) {
        struct sample *s = &samples[(first_slot((uintptr_t)p) + i) % SLOTS];
        if (atomic_load_explicit(&s->at, memory_order_relaxed) != (uintptr_t)p) continue;
        atomic_store(&s->at, 0);
        return;
    }
}

/* --- looking */

/* Groups are named by the size that they hold at most. */
static uint32_t group_of(size_t size) {
    if (size < HEAP_LARGE) return (uint32_t)je_nallocx(size, 0);
    size_t power = HEAP_LARGE;
    while (power < size && power < (size_t)1 << 30) power *= 2;
    return (uint32_t)power;
}

static void add(uint32_t group, uint32_t weight, const void *bytes, size_t length) {
    if (content_count < CONTENTS) contents[content_count++] = (struct content){ group, weight, XXH3_64bits(bytes, length), (uint32_t)length };
}

/* Reads a sample; a large block by up to PAGES_OF_A_BLOCK of its pages, spread over it. Returns the bytes read. */
static size_t read_sample(int memory, const struct sample *s) {
    uintptr_t at = atomic_load(&s->at);
    size_t size = atomic_load(&s->size), read_bytes = 0;
    if (at < PAGE) return 0;
    if (size < HEAP_LARGE) {
        if (pread(memory, buffer, size, (off_t)at) != (ssize_t)size || atomic_load(&s->at) != at) return 0; /* freed meanwhile */
        add(group_of(size), atomic_load(&s->weight), buffer, size);
        return size;
    }
    size_t pages = size / PAGE, step = pages > PAGES_OF_A_BLOCK ? pages / PAGES_OF_A_BLOCK : 1;
    for (size_t i = 0; i < pages && atomic_load(&s->at) == at; i += step, read_bytes += PAGE)
        if (pread(memory, buffer, PAGE, (off_t)(at + i * PAGE)) == PAGE) add(group_of(size), (uint32_t)step, buffer, PAGE);
    return read_bytes;
}

static int by_group_and_hash(const void *a, const void *b) {
    const struct content *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Parameter structs need no samples: all that live are known. As many as there is room for beside the samples; the next look goes on. A
 * group of theirs is STRUCTS and the pool. */
#define STRUCTS 0x80000000u
static void read_structs(int memory) {
    static const void *last;
    static struct structs_view v;
    while (content_count < CONTENTS / 2 && (last = structs_slab(last, &v))) {
        if (v.places == 0 || pread(memory, buffer, (size_t)v.places * v.stride, (off_t)v.first) != (ssize_t)((size_t)v.places * v.stride)) continue;
        for (uint32_t i = 0; i < v.places; i++)
            if (v.live[i / 64] >> i % 64 & 1) add(STRUCTS + v.pool, 1, buffer + (size_t)i * v.stride, v.size);
    }
}

/* One group: contents [first, end) of the sorted array. */
static void publish_structs(uint32_t first, uint32_t end) {
    struct params_counters *n = &counters->params[contents[first].group - STRUCTS];
    uint64_t duplicate = 0;
    for (uint32_t i = first + 1; i < end; i++) duplicate += contents[i].hash == contents[i - 1].hash ? contents[i].bytes : 0;
    counter_set(&n->looked_bytes, (uint64_t)(end - first) * contents[first].bytes), counter_set(&n->duplicate_bytes, duplicate);
}

static void publish(struct observed_counters *n, uint32_t first, uint32_t end) {
    uint64_t bytes = 0, duplicate = 0, live = 0, saved = 0;
    for (uint32_t i = first; i < end; i++) {
        bool again = i > first && contents[i].hash == contents[i - 1].hash;
        bytes += contents[i].bytes, live += (uint64_t)contents[i].bytes * contents[i].weight;
        if (again) duplicate += contents[i].bytes, saved += (uint64_t)contents[i].bytes * contents[i].weight;
    }
    counter_set(&n->size, contents[first].group), counter_set(&n->contents, end - first), counter_set(&n->bytes, bytes);
    counter_set(&n->duplicate_bytes, duplicate), counter_set(&n->live_bytes, live), counter_set(&n->could_save_bytes, saved);
}

static void publish_all(void) {
    unsigned group = 0;
    qsort(contents, content_count, sizeof *contents, by_group_and_hash);
    for (uint32_t first = 0, end; first < content_count; first = end) {
        for (end = first; end < content_count && contents[end].group == contents[first].group;) end++;
        if (contents[first].group >= STRUCTS) publish_structs(first, end);
        else if (group < COUNTER_OBSERVED) publish(&counters->observed[group++], first, end);
    }
    for (; group < COUNTER_OBSERVED; group++) counter_set(&counters->observed[group].contents, 0);
}

static bool ready(void) {
    if (!contents) contents = sys_map(NULL, CONTENTS * sizeof *contents, PROT_READ | PROT_WRITE);
    if (!buffer) buffer = sys_map(NULL, HEAP_LARGE, PROT_READ | PROT_WRITE);
    return contents && buffer;
}

void observe_look(void) {
    static uint64_t last;
    static unsigned next; /* where the last look ended, when it was too much for one */
    struct timespec before, after;
    uint64_t now = clock_ns();
    if (!observe_on || now - last < LOOK_NS || !ready()) return;
    last = now, content_count = 0;
    int memory = sys_open("/proc/self/mem", O_RDONLY, 0);
    if (memory < 0) return;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    size_t looked = 0;
    read_structs(memory);
    for (unsigned n = 0; n < SLOTS && looked < BYTES_A_LOOK; n++) looked += read_sample(memory, &samples[next++ % SLOTS]);
    publish_all();
    close(memory);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    counter_add(&counters->observe_looks, 1);
    counter_add(&counters->observe_cpu_ns, (uint64_t)((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec));
}
