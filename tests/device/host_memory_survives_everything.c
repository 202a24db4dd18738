// env: COPPICE_INTERN=pages
// env: COPPICE_ZERO_RECLAIM_CPU=100
/* Threads write, clear, zero by hand, grow, read and compare large blocks of the heap, let the kernel write and read them, register them with the
 * device for transfers into them, and fork children that compare all of it, while pages of zeros are dropped and equal pages shared as fast
 * as one processor can; each has a copy of what its blocks must hold. Not a byte is ever wrong. While anything is registered no clear
 * gives pages back. argv: seconds, seed */
#include "cuda_test.h"
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, PAGES = 1024, SIZE = PAGES * PAGE, BLOCKS = 6, THREADS = 3, GROWN = SIZE + 512 * PAGE };
static CUresult (*register_memory)(void *, size_t, unsigned), (*unregister_memory)(void *);
static pthread_mutex_t turn[THREADS];
static atomic_int ending, forking; /* who forks would else wait long for mutexes that their threads take again at once */
static atomic_long steps, transfers;
static unsigned char *block[THREADS][BLOCKS], *shadow;
static size_t length[THREADS][BLOCKS];

static unsigned char *must(int thread, int i) { return shadow + ((size_t)thread * BLOCKS + (size_t)i) * GROWN; }
static uint64_t next_random(uint64_t *s) { return *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17; }
static void put(volatile unsigned char *p, unsigned char value, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = value;
}
static void check(int thread, int i, const char *after) {
    if (memcmp(block[thread][i], must(thread, i), length[thread][i]) != 0) FAIL("wrong after %s", after);
}

static void through_a_pipe(int pipes[2], unsigned char *p, unsigned char *q, unsigned char value) {
    unsigned char buffer[PAGE];
    CHECK(write(pipes[1], p, PAGE) == PAGE && read(pipes[0], buffer, PAGE) == PAGE);
    if (memcmp(buffer, q, PAGE) != 0) FAIL("the kernel read something else");
    memset(buffer, value, PAGE);
    CHECK(write(pipes[1], buffer, PAGE) == PAGE && read(pipes[0], p, PAGE) == PAGE);
    memset(q, value, PAGE);
}

/* A transfer into a registered page, and a clear of the whole block beside it before it is waited for. */
static void transfer(int thread, int i, size_t at, unsigned char value, CUdeviceptr device, CUstream stream) {
    unsigned char *p = block[thread][i];
    OK(register_memory(p, SIZE, 0));
    OK(p_cuMemsetD8Async(device, value, PAGE, stream));
    OK(p_cuMemcpyDtoHAsync_v2(p + at, device, PAGE, stream));
    OK(p_cuStreamSynchronize(stream));
    memset(must(thread, i) + at, value, PAGE);
    check(thread, i, "a transfer");
    OK(unregister_memory(p));
    transfers++;
}

/* A block goes and comes back larger or smaller; what calloc gives is zero. */
static void renew(int thread, int i) {
    unsigned char *p = realloc(block[thread][i], length[thread][i] == SIZE ? GROWN : SIZE);
    CHECK(p);
    if (length[thread][i] == SIZE) put(p + SIZE, 7, GROWN - SIZE), memset(must(thread, i) + SIZE, 7, GROWN - SIZE);
    block[thread][i] = p, length[thread][i] = length[thread][i] == SIZE ? GROWN : SIZE;
    check(thread, i, "realloc");
    free(p);
    block[thread][i] = calloc(1, SIZE), length[thread][i] = SIZE;
    CHECK(block[thread][i]);
    memset(must(thread, i), 0, SIZE);
    check(thread, i, "calloc");
}

static void step(int thread, uint64_t *s, int pipes[2], CUdeviceptr device, CUstream stream) {
    int i = (int)(next_random(s) % BLOCKS);
    size_t at = next_random(s) % PAGES * PAGE;
    unsigned char *p = block[thread][i] + at, *q = must(thread, i) + at, value = (unsigned char)next_random(s);
    switch (next_random(s) % 64) {
    case 0: memset(block[thread][i], 0, SIZE), memset(must(thread, i), 0, SIZE); break;          /* pages go */
    case 1: put(block[thread][i], 0, SIZE), memset(must(thread, i), 0, SIZE); break;             /* pages of zeros */
    case 2: put(block[thread][i], 0xab, SIZE), memset(must(thread, i), 0xab, SIZE); break;       /* equal pages */
    case 3: renew(thread, i); break;
    case 4: check(thread, i, "other steps"); break;
    case 5: case 6: transfer(thread, i, at, value, device, stream); break;
    case 7: case 8: case 9: through_a_pipe(pipes, p, q, value); break;
    default: put(p + value * 16, value, 16), memset(q + value * 16, value, 16);
    }
    steps++;
}

static void *work(void *argument) {
    int thread = (int)(intptr_t)argument, pipes[2];
    uint64_t s = 88172645463325252ull + (uint64_t)thread * 7919;
    CUstream stream;
    CHECK(pipe(pipes) == 0);
    OK(p_cuCtxSetCurrent(test_context));
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr device = take(PAGE);
    while (!ending) {
        while (forking) usleep(100);
        pthread_mutex_lock(&turn[thread]);
        for (int i = 0; i < 64; i++) step(thread, &s, pipes, device, stream);
        pthread_mutex_unlock(&turn[thread]);
    }
    return NULL;
}

static void fork_one(void) {
    int status = 1;
    forking = 1;
    for (int i = 0; i < THREADS; i++) pthread_mutex_lock(&turn[i]);
    forking = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        for (int i = 0; i < THREADS * BLOCKS; i++)
            if (memcmp(block[i / BLOCKS][i % BLOCKS], must(i / BLOCKS, i % BLOCKS), length[i / BLOCKS][i % BLOCKS]) != 0) _exit(1);
        _exit(0);
    }
    for (int i = 0; i < THREADS; i++) pthread_mutex_unlock(&turn[i]);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child sees something else (%d)", status);
}

static double statistic(const char *name) { /* what is zero is not shown */
    return strstr(stat_json(), name) ? stat_number_after("\"host\"", name) : 0;
}

static void registered_memory_is_written(void) {
    unsigned char *p = block[0][0];
    double before = statistic("cleared_bytes");
    OK(register_memory(p, SIZE, 0));
    memset(p, 0, SIZE);
    CHECK(statistic("cleared_bytes") == before, "pages were taken away under a registration");
    OK(unregister_memory(p));
    memset(p, 0, SIZE);
    CHECK(statistic("cleared_bytes") > before);
}

int main(int argc, char **argv) {
    int seconds = argc > 1 ? atoi(argv[1]) : 6;
    pthread_t thread[THREADS];
    start();
    need_simulator();
    *(void **)&register_memory = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuMemHostRegister_v2");
    *(void **)&unregister_memory = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuMemHostUnregister");
    CHECK(register_memory && unregister_memory);
    shadow = mmap(NULL, (size_t)THREADS * BLOCKS * GROWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < THREADS * BLOCKS; i++) block[i / BLOCKS][i % BLOCKS] = calloc(1, SIZE), length[i / BLOCKS][i % BLOCKS] = SIZE;
    registered_memory_is_written();
    for (int i = 0; i < THREADS; i++) pthread_mutex_init(&turn[i], NULL);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i) == 0);
    for (time_t until = time(NULL) + seconds; time(NULL) < until;) fork_one(), usleep(500000);
    ending = 1;
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
    for (int i = 0; i < THREADS * BLOCKS; i++) check(i / BLOCKS, i % BLOCKS, "all of it");
    printf("%ld steps, %ld transfers, %.0f MiB cleared, %.0f MiB of zeros dropped\n", (long)steps, (long)transfers,
           statistic("cleared_bytes") / (1 << 20), statistic("reclaimed_bytes") / (1 << 20));
    CHECK(steps > 500 && transfers > 5);
    return 0;
}
