/* heap_test.c: the heap without the hooks: bootstrap arena, address space, kept blocks, clearing, publication. */
#include "base/options.h"
#include "heap/clear.h"
#include "heap/heap.h"
#include "heap/jemalloc.h"
#include "heap/reach.h"
#include "heap/thread.h"
#include "stats/totals.h"
#include "suite.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void start(void) {
    if (!heap_reserved_bytes()) ck_assert(heap_init());
    heap_thread_ready();
    heap_publish();
}

/* what the hooks do */
static void *take(size_t size) {
    void *p = heap_take(size) ? je_malloc(size) : NULL;
    if (p) return p;
    p = size < HEAP_LARGE ? je_malloc(size) : kept_take(size);
    if (!p) p = je_malloc(size);
    heap_thread.takes -= size >= HEAP_LARGE;
    heap_publish();
    return p;
}
static void give(void *p) {
    bool credit = heap_give(p);
    if (!kept_give(p)) je_free(p);
    if (!credit) heap_publish();
    heap_publish_large();
}

/* --- the bootstrap arena */

START_TEST(bootstrap_blocks_are_apart_aligned_and_zero) {
    char *last = NULL;
    for (size_t n = 0; n < 200; n++)
        for (size_t alignment = 1; alignment <= 256; alignment *= 4) {
            char *p = bootstrap_alloc(n, alignment);
            ck_assert_ptr_nonnull(p);
            ck_assert(bootstrap_owns(p) && !heap_owns(p));
            ck_assert_uint_eq((uintptr_t)p % (alignment < 16 ? 16 : alignment), 0);
            ck_assert_uint_eq(bootstrap_usable_size(p), n);
            ck_assert(!last || p > last);
            for (size_t i = 0; i < n; i++) ck_assert_int_eq(p[i], 0);
            memset(p, 0xff, n);
            last = p + (n ? n - 1 : 0);
        }
}
END_TEST

START_TEST(a_full_bootstrap_arena_answers_ENOMEM) {
    errno = 0;
    ck_assert_ptr_null(bootstrap_alloc(SIZE_MAX, 16));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(bootstrap_alloc(1, (size_t)1 << 40));
    while (bootstrap_alloc(100000, 16)) {}
    ck_assert_ptr_nonnull(bootstrap_alloc(1, 16));
}
END_TEST

/* --- address space */

START_TEST(everything_of_jemalloc_lies_in_our_segments) {
    int on_stack;
    start();
    for (size_t n = 1; n < 1u << 28; n = n * 3 / 2 + 1) {
        char *p = je_malloc(n);
        ck_assert(heap_owns_fast(p) && heap_owns_fast(p + n - 1) && heap_owns(p));
        je_free(p);
    }
    ck_assert(!heap_owns(NULL) && !heap_owns_fast(NULL) && !heap_owns(&on_stack) && !heap_owns(start) && !heap_owns((void *)-1));
    void *foreign = malloc(100);
    ck_assert(!heap_owns(foreign) && !heap_owns_fast(foreign));
    free(foreign);
}
END_TEST

START_TEST(pieces_are_aligned_apart_and_empty_when_they_come_back) {
    ck_assert(heap_reserve_init());
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS, both = PROT_READ | PROT_WRITE;
    const size_t big = 2 << 20;
    char *a = heap_mmap(NULL, 4096, both, flags, -1, 0), *b = heap_mmap(NULL, big, both, flags, -1, 0);
    char *c = heap_mmap(NULL, 4096, both, flags, -1, 0);
    ck_assert(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    ck_assert_uint_eq((uintptr_t)b % big, 0);
    ck_assert(a + 4096 <= b && b + big <= c);
    memset(b, 1, big), memset(c, 1, 4096);
    ck_assert_int_eq(heap_munmap(b, big), 0);
    char *again = heap_mmap(NULL, big, both, flags, -1, 0);
    ck_assert_ptr_eq(again, b); /* the hole */
    for (size_t i = 0; i < big; i += 512) ck_assert_int_eq(again[i], 0);
    heap_munmap(c, 4096);
    ck_assert_ptr_eq(heap_mmap(NULL, 8192, both, flags, -1, 0), c); /* the top went down */
    ck_assert_int_eq(c[0], 0);
    errno = 0;
    ck_assert(heap_mmap(NULL, (size_t)1 << 46, both, flags, -1, 0) == MAP_FAILED);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert(heap_mmap(a, 4096, both, flags, -1, 0) == MAP_FAILED); /* a hint that is not free */
}
END_TEST

START_TEST(further_segments_are_found_too) {
    start();
    heap_release_tail();
    size_t before = heap_reserved_bytes();
    ck_assert_uint_lt(before, 64 << 20);
    char *p = je_malloc(100 << 20);
    ck_assert_ptr_nonnull(p);
    ck_assert(!heap_owns_fast(p) && heap_owns(p) && heap_owns(p + (100 << 20) - 1));
    ck_assert_uint_lt(heap_reserved_bytes(), before + (160 << 20));
    memset(p, 1, 100 << 20);
    je_free(p);
}
END_TEST

START_TEST(a_limited_address_space_is_used_sparingly) {
    struct rlimit limit = { 1 << 30, 1 << 30 };
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    start();
    ck_assert_uint_le(heap_reserved_bytes(), 64 << 20);
    void *p = mmap(NULL, 512 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(p != MAP_FAILED);
    munmap(p, 512 << 20);
    ck_assert_ptr_nonnull(je_malloc(600 << 20));
    ck_assert_ptr_null(je_malloc(600 << 20));
}
END_TEST

START_TEST(trim_gives_memory_back) {
    start();
    char *p = je_malloc(64 << 20);
    memset(p, 1, 64 << 20);
    size_t before = heap_returned_bytes();
    je_free(p);
    ck_assert(heap_trim());
    ck_assert_uint_ge(heap_returned_bytes() - before, 64 << 20);
}
END_TEST

/* --- kept blocks */

START_TEST(a_large_block_is_kept_and_found_again) {
    start();
    void *p = take(1 << 20);
    give(p);
    ck_assert_ptr_eq(take(1 << 20), p);
    give(p);
    ck_assert_ptr_null(kept_take(64 << 10));  /* far too large for that */
    ck_assert_ptr_null(kept_take((1 << 20) + 1));
    ck_assert_ptr_eq(kept_take(900 << 10), p);
}
END_TEST

START_TEST(no_more_than_two_blocks_rest_and_not_for_long) {
    start();
    void *p[5];
    for (int i = 0; i < 5; i++) p[i] = take(256 << 10);
    uint64_t freed = *heap_thread.freed;
    for (int i = 0; i < 5; i++) give(p[i]);
    ck_assert_uint_eq(*heap_thread.freed - freed, 3 * (256 << 10)); /* two are not jemalloc's yet */
    for (int i = 0; i < 5000; i++) give(take(100));
    ck_assert(!heap_thread.kept[0].at && !heap_thread.kept[1].at);
    give(take(8 << 20));
    ck_assert_ptr_null(heap_thread.kept[0].at); /* too large to be kept */
}
END_TEST

/* --- numbers */

START_TEST(numbers_equal_what_a_model_counts) {
    enum { BLOCKS = 300 };
    void *block[BLOCKS] = { 0 };
    start();
    struct host_totals before = counters_host_totals(counters);
    uint64_t allocs = 0, frees = 0, got = 0, given = 0;
    unsigned random = 1;
    for (int i = 0; i < 200000; i++) {
        random = random * 1103515245 + 12345;
        unsigned at = random / 65536 % BLOCKS;
        size_t size = random / 97 % (random % 50 == 0 ? 2 << 20 : 3000);
        if (block[at]) {
            given += je_malloc_usable_size(block[at]), frees++;
            give(block[at]), block[at] = NULL;
        } else {
            block[at] = take(size), allocs++;
            got += je_malloc_usable_size(block[at]);
        }
        if (i % 5000 == 0) {
            struct host_totals now = counters_host_totals(counters); /* unpublished: 64 of each */
            ck_assert_uint_le(allocs - (now.allocs - before.allocs), 64);
            ck_assert_uint_le(frees - (now.frees - before.frees), 64);
        }
    }
    heap_publish();
    struct host_totals now = counters_host_totals(counters);
    ck_assert_uint_eq(now.allocs - before.allocs, allocs);
    ck_assert_uint_eq(now.frees - before.frees, frees);
    ck_assert_uint_eq(now.bytes_allocated - before.bytes_allocated, got);
    ck_assert_uint_eq(now.bytes_freed - before.bytes_freed, given);
}
END_TEST

static void *thread_work(void *argument) {
    start();
    give(take(1 << 20));
    for (int i = 0; i < 100; i++) give(take((size_t)i));
    return NULL;
}

static size_t jemalloc_allocated(void) {
    uint64_t epoch = 1;
    size_t bytes = 0, length = sizeof bytes;
    je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    ck_assert_int_eq(je_mallctl("stats.allocated", &bytes, &length, NULL, 0), 0);
    return bytes;
}

START_TEST(ended_threads_leave_exact_numbers) {
    start();
    size_t jemalloc_before = jemalloc_allocated();
    struct host_totals before = counters_host_totals(counters);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, thread_work, NULL), 0);
        pthread_join(thread, NULL);
    }
    struct host_totals now = counters_host_totals(counters);
    ck_assert_uint_eq(now.allocs - before.allocs, 20 * 101);
    ck_assert_uint_eq(now.frees - before.frees, 20 * 101);
    ck_assert_uint_lt(jemalloc_allocated() - jemalloc_before, 3 << 20); /* what they kept went back */
    ck_assert_uint_eq(now.live_bytes, before.live_bytes);
}
END_TEST

START_TEST(cached_and_resident_memory_become_known) {
    start();
    char *p = take(24 << 20);
    memset(p, 1, 24 << 20);
    give(p); /* rests for two seconds, because it is needed again most of the time */
    for (int i = 0; i < 5000; i++) give(take(100));
    ck_assert_uint_ge(counter_get(&counters->host.resident_bytes), 24 << 20);
    ck_assert_uint_ge(counter_get(&counters->host.cached_bytes), 24 << 20);
    ck_assert_uint_ge(counter_get(&counters->host.peak_resident_bytes), counter_get(&counters->host.resident_bytes));
}
END_TEST

static _Atomic bool registered;
static void *register_some(void *unused) {
    heap_pins_add(1);
    registered = true;
    return NULL;
}

START_TEST(no_memory_is_registered_while_pages_are_going) {
    pthread_t thread;
    start();
    options_load();
    void *p = take(4 << 20);
    ck_assert(heap_clear(p, 4 << 20, NULL, memset));
    reach_wait(); /* as a clear has it, from its last look at what is registered to the end */
    pthread_create(&thread, NULL, register_some, NULL);
    usleep(20000);
    ck_assert(!registered);
    reach_go_on();
    pthread_join(thread, NULL);
    ck_assert(!heap_clear(p, 4 << 20, NULL, memset));
    heap_pins_add(-1);
    give(p);
}
END_TEST

SUITE("heap", NULL, NULL,
      bootstrap_blocks_are_apart_aligned_and_zero, a_full_bootstrap_arena_answers_ENOMEM,
      everything_of_jemalloc_lies_in_our_segments, pieces_are_aligned_apart_and_empty_when_they_come_back,
      further_segments_are_found_too, a_limited_address_space_is_used_sparingly, trim_gives_memory_back,
      a_large_block_is_kept_and_found_again, no_more_than_two_blocks_rest_and_not_for_long,
      numbers_equal_what_a_model_counts, ended_threads_leave_exact_numbers, no_memory_is_registered_while_pages_are_going,
      cached_and_resident_memory_become_known)
