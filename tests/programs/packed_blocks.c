// env: COPPICE_PACK=1
/* COPPICE_PACK=1: blocks of all sizes, taken, resized and given back by several threads, also each other's, hold what was written into them
 * and overlap nobody; so does a fork's child see it. What is asked for in turn lies together, so that after a churn that leaves size classes
 * half empty the process holds little more than what is live; malloc_trim gives whole free pages back, of what threads freed while others were
 * at it too. A block that is freed twice is given out once. What a thread has at hand and does not come back to goes back. A process that packs
 * looks at itself as any other, and says how much is packed. */
#include "memory.h"
#include "statistic.h"
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { THREADS = 4, SLOTS = 512, STEPS = 60000, KEYS = 120000 };
static struct { unsigned char *p; size_t size; pthread_mutex_t lock; } slot[SLOTS];
static _Atomic long bad;
static void *(*volatile get)(size_t) = malloc;

static uint64_t next_random(uint64_t *s) { return *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17; }
static unsigned char mark_of(const void *p, size_t i) { return (unsigned char)((uintptr_t)p / 16 + i); }

/* the first and last bytes, and some between, say whose they are */
static void mark(int n) {
    for (size_t i = 0; i < slot[n].size; i += i < 64 || slot[n].size - i < 80 ? 1 : 61) slot[n].p[i] = mark_of(slot + n, i);
}
static void check(int n, size_t size) {
    for (size_t i = 0; i < size; i += i < 64 || slot[n].size - i < 80 ? 1 : 61) bad += slot[n].p[i] != mark_of(slot + n, i);
}

static size_t any_size(uint64_t *s) {
    uint64_t r = next_random(s);
    return r % 16 == 0 ? 1 + next_random(s) % 100000 : r % 4 == 0 ? 1 + next_random(s) % 5000 : 1 + next_random(s) % 400;
}

static void step(uint64_t *s) {
    int n = (int)(next_random(s) % SLOTS);
    size_t size = any_size(s), had;
    pthread_mutex_lock(&slot[n].lock);
    had = slot[n].size;
    if (had) check(n, had);
    switch (next_random(s) % 4) {
    case 0: free(slot[n].p), slot[n].p = NULL, slot[n].size = 0; break;
    case 1: {
        unsigned char *p = realloc(slot[n].p, size);
        CHECK(p);
        slot[n].p = p;
        if (had > size) slot[n].size = size, had = size;
        /* the old part came along: it is checked where the marks of the old length stand */
        for (size_t i = 0; i < had && i < 64; i++) bad += p[i] != mark_of(slot + n, i);
        slot[n].size = size, mark(n);
        break;
    }
    case 2:
        free(slot[n].p);
        slot[n].p = calloc(1, size), slot[n].size = size;
        CHECK(slot[n].p);
        for (size_t i = 0; i < size; i++) bad += slot[n].p[i] != 0;
        mark(n);
        break;
    default:
        free(slot[n].p);
        slot[n].p = next_random(s) % 8 ? malloc(size) : memalign(64, size), slot[n].size = size;
        CHECK(slot[n].p && (uintptr_t)slot[n].p % (size < 16 ? 8 : 16) == 0 && malloc_usable_size(slot[n].p) >= size);
        mark(n);
    }
    pthread_mutex_unlock(&slot[n].lock);
}

static void *work(void *argument) {
    uint64_t s = 88172645463325252ull + (uintptr_t)argument * 7919;
    for (int i = 0; i < STEPS; i++) step(&s);
    return NULL;
}

static void check_all(void) {
    for (int n = 0; n < SLOTS; n++)
        if (slot[n].size) check(n, slot[n].size);
}

static void child(void) {
    uint64_t s = 7;
    check_all();
    for (int i = 0; i < 2000; i++) step(&s);
    check_all();
    CHECK(bad == 0);
}

/* What it says is packed. It looks at itself while it allocates, a few times a second. */
static double packed_soon(size_t least) {
    double packed = 0;
    for (int tries = 0; tries < 100 && packed < (double)least; tries++) {
        usleep(20000);
        for (int i = 0; i < 1000; i++) free(get(4096));
        packed = number_in(statistics(), "packed_bytes");
    }
    return packed;
}

static void churn(void) {
    static void *key[2 * KEYS];
    uint64_t s = 42;
    size_t count = 0, live = 0;
    long before = mapped_kib("Anonymous");
    for (size_t larger = 1; larger <= 4; larger *= 2) {
        for (int i = 0; i < KEYS / (int)larger; i++) {
            size_t size = (60 + next_random(&s) % 300) * larger;
            CHECK((key[count++] = get(size)));
            memset(key[count - 1], 1, size);
            live += malloc_usable_size(key[count - 1]);
        }
        if (larger == 4) break;
        for (size_t i = 0; i < count / 2; i++) {
            size_t j = i + next_random(&s) % (count - i);
            void *p = key[j];
            key[j] = key[i], key[i] = p;
        }
        for (size_t gone = count / 2; gone > 0; gone--) {
            live -= malloc_usable_size(key[gone - 1]), free(key[gone - 1]);
            key[gone - 1] = key[--count];
        }
    }
    long held = mapped_kib("Anonymous") - before;
    printf("%zu KiB live, %ld KiB held\n", live >> 10, held);
    CHECK(held < (long)(live >> 10) * 14 / 10);
    double packed = packed_soon(live);
    CHECK(packed >= (double)live && packed < (double)(live * 2));
    while (count > 0) free(key[--count]);
    malloc_trim(0);
    printf("%ld KiB held after all was freed\n", mapped_kib("Anonymous") - before);
    CHECK(mapped_kib("Anonymous") - before < held / 8);
}

/* What a program asks for in turn lies together, small ones too: freed together they make room for one block of their size. */
static void neighbours(void) {
    enum { MANY = 20000, PARTS = 3 };
    static const size_t part[PARTS] = { 24, 200, 20 };
    static void *key[MANY][PARTS], *large[MANY / 2];
    uint64_t s = 7;
    for (int i = 0; i < MANY; i++)
        for (int j = 0; j < PARTS; j++) CHECK((key[i][j] = get(part[j]))), memset(key[i][j], 1, part[j]);
    long before = mapped_kib("Anonymous");
    for (int gone = 0; gone < MANY / 2;) {
        int i = (int)(next_random(&s) % MANY);
        if (!key[i][0]) continue;
        for (int j = 0; j < PARTS; j++) free(key[i][j]), key[i][j] = NULL;
        gone++;
    }
    for (int i = 0; i < MANY / 2; i++) CHECK((large[i] = get(264))), memset(large[i], 1, 264);
    printf("%ld KiB held, and %ld more\n", before, mapped_kib("Anonymous") - before);
    CHECK(mapped_kib("Anonymous") - before < MANY / 2 * 264 / 1024 / 8);
    for (int i = 0; i < MANY; i++)
        for (int j = 0; j < PARTS; j++) free(key[i][j]);
    for (int i = 0; i < MANY / 2; i++) free(large[i]);
    malloc_trim(0);
}

/* 25 to 32 bytes would take 48 with their header: they stay in their class. */
static void which_sizes(void) {
    for (size_t size = 9; size <= 40 << 10; size++) {
        void *p = get(size);
        bool packed = size >= 17 && size <= 32768 && !(size >= 25 && size <= 32);
        CHECK((malloc_usable_size(p) % 16 == 8) == packed); /* a class is a multiple of 16 */
        free(p);
    }
}

static void (*volatile give)(void *) = free;

static int by_address(const void *a, const void *b) { return (*(char *const *)a > *(char *const *)b) - (*(char *const *)a < *(char *const *)b); }

/* While it is at hand; when it is part of a larger free block, since others of its size came after it; when its page has gone. */
static void freed_twice(size_t size, int others, bool trim) {
    enum { MANY = 64 };
    char *p[MANY], *got[MANY];
    for (int i = 0; i < MANY; i++) memset(p[i] = get(size), 1, size);
    qsort(p, MANY, sizeof *p, by_address);
    for (int i = 0; i < 2 + others; i++) give(p[i]);
    if (trim) malloc_trim(0);
    give(p[1]);
    if (trim) malloc_trim(0);
    for (int i = 0; i < MANY; i++) {
        got[i] = get(size);
        for (int j = 0; j < i; j++) CHECK((size_t)llabs(got[i] - got[j]) >= size);
        for (int j = 2 + others; j < MANY; j++) CHECK((size_t)llabs(got[i] - p[j]) >= size);
    }
    for (int i = 0; i < MANY; i++) give(got[i]);
    for (int i = 2 + others; i < MANY; i++) give(p[i]);
}

/* A page that went back stays away, whatever is freed again on it. */
static void freed_twice_after_its_page_has_gone(void) {
    enum { MANY = 2000, SIZE = 2900 };
    static char *p[MANY];
    for (int i = 0; i < MANY; i++) memset(p[i] = get(SIZE), 1, SIZE);
    for (int i = 0; i < MANY; i++) give(p[i]);
    malloc_trim(0);
    long before = mapped_kib("Anonymous");
    for (int i = 0; i < MANY; i++) give(p[i]);
    printf("%ld KiB came back\n", mapped_kib("Anonymous") - before);
    CHECK(mapped_kib("Anonymous") - before < 200);
}

int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length) __attribute__((weak)); /* the library has it */
static size_t in_thread_caches(void) {
    uint64_t epoch = 1;
    size_t bytes = 0, length = sizeof bytes;
    CHECK(mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) == 0);
    CHECK(mallctl("stats.arenas.4096.tcache_bytes", &bytes, &length, NULL, 0) == 0);
    return bytes;
}

/* Two neighbours that are freed stay at hand, each by itself, and larger blocks in jemalloc's cache; while the thread goes on with blocks of
 * another size the two become one, and the cache is emptied. */
static void what_nobody_comes_back_to_goes(void) {
    enum { MANY = 64, CACHED = 4, SIZE = 1000, BOTH = 2 * (SIZE + 8) - 8 };
    char *p[MANY], *large[CACHED], *got[MANY];
    int i, found = -1;
    for (i = 0; i < CACHED; i++) CHECK((large[i] = get(60000)));
    for (i = 0; i < CACHED; i++) give(large[i]);
    CHECK(in_thread_caches() >= CACHED * 60000);
    for (i = 0; i < MANY; i++) CHECK((p[i] = get(SIZE)));
    qsort(p, MANY, sizeof *p, by_address);
    for (i = 1; p[i + 2] - p[i - 1] != 3 * (SIZE + 8);) CHECK(++i + 2 < MANY); /* between two that stay */
    give(p[i]), give(p[i + 1]);
    CHECK(get(SIZE) == p[i + 1]);
    give(p[i + 1]);
    for (int n = 0; n < 200000; n++) give(get(100));
    for (int n = 0; n < MANY; n++)
        if ((got[n] = get(BOTH)) == p[i]) found = n;
    CHECK(found >= 0);
    CHECK(in_thread_caches() < 60000);
    for (int n = 0; n < MANY; n++) give(got[n]);
    for (int n = 0; n < MANY; n++)
        if (n != i && n != i + 1) give(p[n]);
}

static void a_large_one_serves_its_like(void) {
    give(get(30000));
    void *p = get(2000);
    CHECK(malloc_usable_size(p) < 2300);
    give(p);
}

/* Each takes several of a size, gives them back at once, and ends with some of every size at hand. */
static void *hoard(void *argument) {
    void *p[32];
    for (int round = 0; round < 40; round++)
        for (size_t size = 40; size < 4000; size += size < 1000 ? 64 : 500) {
            for (int i = 0; i < 32; i++) CHECK((p[i] = get(size)));
            for (int i = 0; i < 32; i++) give(p[i]);
        }
    return NULL;
}

/* What they gave back while others were at it, or had at hand at their ends, is there. */
static void nothing_is_lost_in_a_crowd(void) {
    enum { CROWD = 8, TIMES = 24 };
    pthread_t thread[CROWD];
    long before = mapped_kib("Anonymous");
    for (int time = 0; time < TIMES; time++) {
        for (int i = 0; i < CROWD; i++) CHECK(pthread_create(&thread[i], NULL, hoard, NULL) == 0);
        for (int i = 0; i < CROWD; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    }
    malloc_trim(0);
    printf("%ld KiB held after a crowd\n", mapped_kib("Anonymous") - before);
    CHECK(mapped_kib("Anonymous") - before < 2000);
}

int main(void) {
    pthread_t thread[THREADS];
    neighbours();
    churn(); /* before which_sizes: only packed memory has been asked for till now */
    which_sizes();
    for (size_t size = 100; size < 4000; size += 2900) freed_twice(size, 0, false), freed_twice(size, 20, false), freed_twice(size, 20, true);
    freed_twice_after_its_page_has_gone();
    a_large_one_serves_its_like();
    what_nobody_comes_back_to_goes();
    nothing_is_lost_in_a_crowd();
    for (int n = 0; n < SLOTS; n++) CHECK(pthread_mutex_init(&slot[n].lock, NULL) == 0);
    for (intptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&thread[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    check_all();
    CHECK(bad == 0);
    IN_CHILD(child());
    return 0;
}
