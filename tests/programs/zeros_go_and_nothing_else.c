// env: COPPICE_ZERO_RECLAIM_CPU=100
// env: COPPICE_STATS=signal
/* Threads write into, clear, read and compare pages of a large cache, by themselves and by system calls, and fork children
 * that compare all of it, while pages of zeros are dropped in the background as fast as one processor can. Not a byte is
 * ever wrong, and most of what is zero goes. argv[1]: seconds. */
#include "zeros.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, THREADS = 3, PAGES = 8192, LARGE = 64 << 20 }; /* pages a thread */
static unsigned char *cache, *shadow;
static pthread_mutex_t turn[THREADS];
static _Atomic int ending;
static _Atomic long steps, wrong;

static unsigned char *page(unsigned char *of, int thread, unsigned n) { return of + ((size_t)thread * PAGES + n) * PAGE; }
static uint64_t next_random(uint64_t *s) { return *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17; }
static void check(const void *a, const void *b, size_t length) { if (memcmp(a, b, length) != 0) wrong++; }

/* stores that no library function replaces */
static void put(volatile unsigned char *p, unsigned char value, size_t length) {
    for (size_t i = 0; i < length; i++) p[i] = value;
}

static void step(int thread, int pipes[2], uint64_t *s) {
    /* most of the work is in an eighth of the pages, as in a cache that is hardly used */
    unsigned n = (unsigned)(next_random(s) % (next_random(s) % 8 ? PAGES / 8 : PAGES));
    unsigned char *p = page(cache, thread, n), *q = page(shadow, thread, n), buffer[PAGE];
    size_t at = next_random(s) % (PAGE - 64), length = 1 + next_random(s) % 64;
    unsigned char value = (unsigned char)next_random(s);
    switch (next_random(s) % 8) {
    case 0: case 1: put(p + at, value, length), memset(q + at, value, length); break;
    case 2: put(p, 0, PAGE), memset(q, 0, PAGE); break;
    case 3: case 4: check(p, q, PAGE); break;
    case 5: /* the kernel reads it */
        CHECK(write(pipes[1], p, PAGE) == PAGE && read(pipes[0], buffer, PAGE) == PAGE);
        check(buffer, q, PAGE);
        break;
    case 6: /* the kernel writes it */
        memset(buffer, value, length);
        CHECK(write(pipes[1], buffer, length) == (ssize_t)length && read(pipes[0], p + at, length) == (ssize_t)length);
        memset(q + at, value, length);
        break;
    case 7: __atomic_fetch_add((uint64_t *)(void *)(p + at / 8 * 8), 1, __ATOMIC_SEQ_CST), (*(uint64_t *)(void *)(q + at / 8 * 8))++; break;
    }
    steps++;
}

static void *work(void *argument) {
    int thread = (int)(intptr_t)argument, pipes[2];
    uint64_t s = 88172645463325252ull + (uint64_t)thread * 7919;
    CHECK(pipe(pipes) == 0);
    while (!ending) {
        pthread_mutex_lock(&turn[thread]);
        for (int i = 0; i < 50; i++) step(thread, pipes, &s);
        pthread_mutex_unlock(&turn[thread]);
    }
    return NULL;
}

/* A child sees the cache as it was at the fork; it may write, too. */
static void fork_one(void) {
    for (int i = 0; i < THREADS; i++) pthread_mutex_lock(&turn[i]);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        for (int i = 0; i < 2; i++) {
            if (memcmp(cache, shadow, (size_t)THREADS * PAGES * PAGE) != 0) _exit(1);
            put(cache + PAGE * 3, 1, PAGE), memset(shadow + PAGE * 3, 1, PAGE);
        }
        _exit(0);
    }
    for (int i = 0; i < THREADS; i++) pthread_mutex_unlock(&turn[i]);
    int status = 1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) wrong++;
}

int main(int argc, char **argv) {
    int seconds = argc > 1 ? atoi(argv[1]) : 5;
    size_t size = (size_t)THREADS * PAGES * PAGE;
    cache = aligned_alloc(PAGE, size);
    shadow = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(cache && shadow != MAP_FAILED);
    put(cache, 0, size);
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(pthread_mutex_init(&turn[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < 200; i++) free(malloc(100 << 10)); /* so that the heap looks at its size */
    for (int i = 0; i < 50 && statistic("reclaimed_bytes") < (double)size / 2; i++) usleep(100000);
    long before_forks = (long)statistic("reclaimed_bytes");
    /* pages that were in two processes stay where they are until they are written again */
    for (time_t end = time(NULL) + seconds; time(NULL) < end;) fork_one(), usleep(300000);
    ending = 1;
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    check(cache, shadow, size);
    long dropped = (long)statistic("reclaimed_bytes");
    printf("%ld steps, %ld wrong, %ld MiB of zeros dropped before the first fork, %ld MiB in all, %ld MiB looked at\n",
           (long)steps, (long)wrong, before_forks >> 20, dropped >> 20, (long)statistic("zero_looked_bytes") >> 20);
    CHECK(wrong == 0 && steps > 5000);
    CHECK(before_forks > (long)size / 2 && dropped > before_forks);
    return 0;
}
