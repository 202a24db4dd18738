/* asked.c: how much memory a program has *asked* for and not given back, whichever allocator serves it.
 *
 * Preloaded in front of an allocator it counts each block under the size that was asked for, and a few times a second appends to the file
 * $ASKED/PID a record: when (CLOCK_MONOTONIC), how much of what was asked for is resident, and what this library itself has resident. Small
 * blocks count as resident; of large ones the kernel is asked page by page. What a process holds beyond that is its code and mappings, the same
 * under each allocator, and what the allocator costs it; it differs less from run to run than peaks do, which hang on which requests meet.
 * Blocks lie in open tables under a lock each: small ones, of which there may be a million, in a word; large ones apart, since they are gone
 * through for each record. A fork's child counts on, and writes nothing. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, LARGE = 2 * PAGE, PARTS = 64, PERIOD_MS = 250 };
enum { SMALL_SLOTS = 1 << 16, LARGE_SLOTS = 1 << 12, SIZE_BITS = 13 /* below LARGE */, BOOT = 64 << 10 };

struct record { uint64_t ns, asked, own; };
struct large { uintptr_t at; size_t size; };
static struct part {
    pthread_mutex_t lock;
    uint64_t small[SMALL_SLOTS];      /* address / 8 above, size below; 0: none */
    struct large large[LARGE_SLOTS];
    unsigned smalls, larges;
} part[PARTS];
static _Atomic int64_t small_bytes;
static _Atomic uint64_t lost;         /* blocks that found no slot: the figure is worthless then */

static void *(*next_malloc)(size_t), *(*next_calloc)(size_t, size_t), *(*next_realloc)(void *, size_t), *(*next_memalign)(size_t, size_t);
static void (*next_free)(void *);

/* What dlsym asks for while it looks for the others. */
static _Alignas(16) char boot[BOOT];
static size_t boot_used;
static bool is_boot(const void *p) { return (uintptr_t)p - (uintptr_t)boot < BOOT; }
static void *boot_alloc(size_t size) {
    size_t at = boot_used;
    boot_used += (size + 15) & ~(size_t)15;
    return boot_used <= BOOT ? boot + at : NULL;
}

/* False: it is being done, further out. */
static bool ready(void) {
    static bool looking;
    if (next_free) return true;
    if (looking) return false;
    looking = true;
    next_malloc = dlsym(RTLD_NEXT, "malloc"), next_calloc = dlsym(RTLD_NEXT, "calloc"), next_realloc = dlsym(RTLD_NEXT, "realloc");
    next_memalign = dlsym(RTLD_NEXT, "memalign"), next_free = dlsym(RTLD_NEXT, "free");
    return true;
}

/* --- the tables: linear probing, no tombstones */

static uint64_t hash(uintptr_t p) { return (p >> 3) * 0x9e3779b97f4a7c15u; }
static struct part *part_of(uintptr_t p) { return &part[hash(p) >> 58]; }
static unsigned small_slot(uintptr_t p) { return (unsigned)(hash(p) >> 42) % SMALL_SLOTS; }
static unsigned large_slot(uintptr_t p) { return (unsigned)(hash(p) >> 46) % LARGE_SLOTS; }
static uintptr_t small_at(uint64_t entry) { return (uintptr_t)(entry >> SIZE_BITS << 3); }

static void small_put(struct part *t, uintptr_t p, size_t size) {
    unsigned i = small_slot(p);
    if (t->smalls++ > SMALL_SLOTS / 8 * 7) t->smalls--, lost++;
    else {
        while (t->small[i]) i = (i + 1) % SMALL_SLOTS;
        t->small[i] = (uint64_t)p >> 3 << SIZE_BITS | size;
        small_bytes += (int64_t)size;
    }
}

static void large_put(struct part *t, uintptr_t p, size_t size) {
    unsigned i = large_slot(p);
    if (t->larges++ > LARGE_SLOTS / 8 * 7) t->larges--, lost++;
    else {
        while (t->large[i].at) i = (i + 1) % LARGE_SLOTS;
        t->large[i] = (struct large){ p, size };
    }
}

/* Those that come behind and could stand here move up. */
static bool small_remove(struct part *t, uintptr_t p) {
    unsigned i = small_slot(p);
    while (t->small[i] && small_at(t->small[i]) != p) i = (i + 1) % SMALL_SLOTS;
    if (!t->small[i]) return false;
    small_bytes -= (int64_t)(t->small[i] % (1u << SIZE_BITS));
    t->smalls--;
    for (unsigned j = (i + 1) % SMALL_SLOTS; t->small[j]; j = (j + 1) % SMALL_SLOTS)
        if ((j - small_slot(small_at(t->small[j]))) % SMALL_SLOTS >= (j - i) % SMALL_SLOTS) t->small[i] = t->small[j], i = j;
    t->small[i] = 0;
    return true;
}

static void large_remove(struct part *t, uintptr_t p) {
    unsigned i = large_slot(p);
    while (t->large[i].at && t->large[i].at != p) i = (i + 1) % LARGE_SLOTS;
    if (!t->large[i].at) return; /* from before us */
    t->larges--;
    for (unsigned j = (i + 1) % LARGE_SLOTS; t->large[j].at; j = (j + 1) % LARGE_SLOTS)
        if ((j - large_slot(t->large[j].at)) % LARGE_SLOTS >= (j - i) % LARGE_SLOTS) t->large[i] = t->large[j], i = j;
    t->large[i] = (struct large){ 0 };
}

static void *asked(void *p, size_t size) {
    struct part *t = part_of((uintptr_t)p);
    if (!p) return p;
    pthread_mutex_lock(&t->lock);
    if (size < LARGE) small_put(t, (uintptr_t)p, size);
    else large_put(t, (uintptr_t)p, size);
    pthread_mutex_unlock(&t->lock);
    return p;
}

static void given_back(void *p) {
    struct part *t = part_of((uintptr_t)p);
    if (!p) return;
    pthread_mutex_lock(&t->lock);
    if (!small_remove(t, (uintptr_t)p)) large_remove(t, (uintptr_t)p);
    pthread_mutex_unlock(&t->lock);
}

/* --- what programs call */

void *malloc(size_t size) { return ready() ? asked(next_malloc(size), size) : boot_alloc(size); }
void *calloc(size_t count, size_t size) { return ready() ? asked(next_calloc(count, size), count * size) : boot_alloc(count * size); }
void *memalign(size_t alignment, size_t size) { return ready() ? asked(next_memalign(alignment, size), size) : NULL; }
void free(void *p) {
    if (is_boot(p) || !ready()) return;
    given_back(p);
    next_free(p);
}
/* The old block goes out of the table first: its address may be somebody else's at once. One that could not grow is not counted any more. */
void *realloc(void *p, size_t size) {
    if (is_boot(p) || !ready()) return NULL;
    given_back(p);
    return asked(next_realloc(p, size), size);
}
void *reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? errno = ENOMEM, NULL : realloc(p, bytes);
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
void *valloc(size_t size) { return memalign(PAGE, size); }
int posix_memalign(void **p, size_t alignment, size_t size) {
    void *got = memalign(alignment, size);
    return got ? *p = got, 0 : ENOMEM;
}

/* C++: new and delete by their mangled names. No exception is thrown where there is no memory: nobody measures there. */
#define U __attribute__((unused))
void *_Znwm(size_t size) { return malloc(size); }
void *_Znam(size_t size) { return malloc(size); }
void *_ZnwmRKSt9nothrow_t(size_t size, U const void *t) { return malloc(size); }
void *_ZnamRKSt9nothrow_t(size_t size, U const void *t) { return malloc(size); }
void *_ZnwmSt11align_val_t(size_t size, size_t a) { return memalign(a, size); }
void *_ZnamSt11align_val_t(size_t size, size_t a) { return memalign(a, size); }
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t a, U const void *t) { return memalign(a, size); }
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t a, U const void *t) { return memalign(a, size); }
void _ZdlPv(void *p) { free(p); }
void _ZdlPvm(void *p, U size_t s) { free(p); }
void _ZdlPvSt11align_val_t(void *p, U size_t a) { free(p); }
void _ZdlPvmSt11align_val_t(void *p, U size_t s, U size_t a) { free(p); }
void _ZdlPvRKSt9nothrow_t(void *p, U const void *t) { free(p); }
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p, U size_t a, U const void *t) { free(p); }
void _ZdaPv(void *p) { free(p); }
void _ZdaPvm(void *p, U size_t s) { free(p); }
void _ZdaPvSt11align_val_t(void *p, U size_t a) { free(p); }
void _ZdaPvmSt11align_val_t(void *p, U size_t s, U size_t a) { free(p); }
void _ZdaPvRKSt9nothrow_t(void *p, U const void *t) { free(p); }
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *p, U size_t a, U const void *t) { free(p); }

/* --- the records */

/* Bytes of [p, p + size) on pages that are present. */
static uint64_t resident(int pagemap, uintptr_t p, size_t size) {
    static uint64_t entry[4096];
    uint64_t bytes = 0;
    for (uintptr_t page = p / PAGE, end = (p + size - 1) / PAGE + 1; page < end;) {
        size_t count = end - page < 4096 ? end - page : 4096;
        ssize_t got = pread(pagemap, entry, count * 8, (off_t)(page * 8));
        if (got <= 0) break;
        for (size_t i = 0; i < (size_t)got / 8; i++, page++) {
            uintptr_t from = page * PAGE > p ? page * PAGE : p, to = (page + 1) * PAGE < p + size ? (page + 1) * PAGE : p + size;
            if (entry[i] >> 63) bytes += to - from;
        }
    }
    return bytes;
}

static uint64_t large_bytes(int pagemap) {
    static struct large now[LARGE_SLOTS];
    uint64_t bytes = 0;
    for (struct part *t = part; t < part + PARTS; t++) {
        pthread_mutex_lock(&t->lock);
        memcpy(now, t->large, sizeof now);
        pthread_mutex_unlock(&t->lock);
        for (struct large *l = now; l < now + LARGE_SLOTS; l++)
            if (l->at) bytes += resident(pagemap, l->at, l->size);
    }
    return bytes;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *record(void *argument) {
    int out = (int)(intptr_t)argument, pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (; pagemap >= 0 && !lost; usleep(PERIOD_MS * 1000)) {
        struct record r = { now_ns(), 0, resident(pagemap, (uintptr_t)part, sizeof part) };
        r.asked = (uint64_t)small_bytes + large_bytes(pagemap);
        if (write(out, &r, sizeof r) != sizeof r) break;
    }
    close(out);
    return NULL;
}

static void unlock_all(void) {
    for (struct part *t = part; t < part + PARTS; t++) pthread_mutex_init(&t->lock, NULL);
}

static __attribute__((constructor)) void begin(void) {
    char name[512];
    pthread_t thread;
    int out;
    pthread_atfork(NULL, NULL, unlock_all);
    if (!getenv("ASKED") || snprintf(name, sizeof name, "%s/%d", getenv("ASKED"), getpid()) >= (int)sizeof name) return;
    if ((out = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) >= 0) pthread_create(&thread, NULL, record, (void *)(intptr_t)out);
}
