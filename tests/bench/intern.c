/* intern.c: what equal contents cost and save. Under the library, `intern PART [N]`:
 *   hit N    the median and 99th percentile, in ns, of a call of coppice_intern that finds its content, in N threads, and the median of
 *            means of 64 calls (sets of 200 bytes in the order of the stream). A call is timed by the cycle counter, less what an
 *            empty measurement takes; nothing runs ahead into it or out of it. The counter may go in steps (10 ns here), so the median
 *            is the one of grouped data. A mean is of calls that may overlap
 *   copy N   the same of a copy made with malloc and memcpy, which is what a program does without
 *   miss     mean ns of a call that adds its content
 *   stream N sends the stream, as encoded parameters, through the table; N requests are live at a time. The library's
 *            statistics say what came of it
 *   live N   10,000 live sets of N bytes; 0: encoded parameters
 *
 * The *stream* is shaped as sampling-parameter sets of a public production trace were counted: 68,195 requests, 4,210 different
 * sets, the 10 most common 42.5 % of the requests, the 100 most common 72.1 %; in random order, which is the worst one. */
#include "../../include/coppice/coppice.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

enum { REQUESTS = 68195, SETS = 4210, SET_BYTES = 200, THREADS_MOST = 64, BATCH = 64, BATCHES = 2000, EMPTY = 20000, CYCLES = 8192 };

#define FUNCTIONS(X) \
    X(intern) X(release) X(params_new) X(params_free) X(params_set_real) X(params_set_int) X(params_add_string) X(params_add_bias) X(params_encode)
#define X(name) static __typeof__(&coppice_##name) name;
FUNCTIONS(X)
#undef X
static unsigned request[REQUESTS]; /* the set of each */
static char set[SETS][SET_BYTES];
static double batch_ns[THREADS_MOST][BATCHES / 2], ns_a_cycle, empty_cycles;
static unsigned took[THREADS_MOST][CYCLES]; /* how many calls took so many; the last: that or more */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Sets [first, last) share `requests`: one each, and the rest as 1/rank. */
static unsigned *share(unsigned *at, unsigned first, unsigned last, unsigned requests) {
    double all = 0;
    unsigned *end = at + requests, rest = requests - (last - first);
    for (unsigned i = first; i < last; i++) *at++ = i, all += 1.0 / (i + 1);
    for (unsigned i = first; i < last; i++)
        for (unsigned n = (unsigned)(rest / all / (i + 1)); n > 0 && at < end; n--) *at++ = i;
    for (unsigned i = first; at < end; i = i + 1 < last ? i + 1 : first) *at++ = i;
    return at;
}

static void make_stream(void) {
    unsigned *at = share(request, 0, 10, (unsigned)(REQUESTS * 0.425));
    at = share(at, 10, 100, (unsigned)(REQUESTS * (0.721 - 0.425)));
    share(at, 100, SETS, (unsigned)(request + REQUESTS - at));
    srand(1);
    for (unsigned i = REQUESTS - 1; i > 0; i--) {
        unsigned j = (unsigned)rand() % (i + 1), other = request[j];
        request[j] = request[i], request[i] = other;
    }
    for (unsigned i = 0; i < SETS; i++) {
        for (unsigned j = 0; j < SET_BYTES; j++) set[i][j] = (char)rand();
        memcpy(set[i], &i, sizeof i);
    }
}

/* A stand-in for a program's own copy. */
static const void *copy(const void *bytes, size_t length, uint32_t tag) {
    (void)tag;
    void *own = malloc(length);
    return own ? memcpy(own, bytes, length) : NULL;
}
static void drop(const void *own) { free((void *)own); }

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint64_t begin_call(void) {
    _mm_lfence();
    uint64_t t = __rdtsc();
    _mm_lfence();
    return t;
}
static unsigned end_call(uint64_t begun) {
    unsigned cpu;
    uint64_t t = __rdtscp(&cpu) - begun;
    _mm_lfence();
    return t < CYCLES ? (unsigned)t : CYCLES - 1;
}

/* In cycles: where `part` of the calls lie below, as if those of a step were spread over it. */
static double percentile(const unsigned *calls, double part) {
    double all = 0, below = 0;
    unsigned i = 0, before = 0;
    for (unsigned n = 0; n < CYCLES; n++) all += calls[n];
    for (; below + calls[i] < all * part; i++)
        if (calls[i]) below += calls[i], before = i;
    return i - (i - before) * 0.5 + (i - before) * (all * part - below) / calls[i];
}

static void learn_the_counter(void) {
    static unsigned empty[CYCLES];
    double start = now();
    uint64_t cycles = __rdtsc();
    while (now() - start < 2e7) {}
    ns_a_cycle = (now() - start) / (double)(__rdtsc() - cycles);
    for (unsigned i = 0; i < EMPTY; i++) empty[end_call(begin_call())]++;
    empty_cycles = percentile(empty, 0.5);
}

static void *hit(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument, at = thread * 7919;
    const void *held[BATCH];
    for (unsigned b = 0; b < BATCHES; b++, at += BATCH) {
        if (b % 2) {
            for (unsigned i = 0; i < BATCH; i++) {
                const char *content = set[request[(at + i) % REQUESTS]];
                uint64_t begun = begin_call();
                held[i] = intern(content, SET_BYTES, 0);
                took[thread][end_call(begun)]++;
            }
        } else {
            double start = now();
            for (unsigned i = 0; i < BATCH; i++) held[i] = intern(set[request[(at + i) % REQUESTS]], SET_BYTES, 0);
            batch_ns[thread][b / 2] = (now() - start) / BATCH;
        }
        for (unsigned i = 0; i < BATCH; i++) release(held[i]);
    }
    return NULL;
}

static void hits(unsigned count) {
    pthread_t threads[THREADS_MOST];
    const size_t all = (size_t)count * BATCHES / 2;
    learn_the_counter();
    for (unsigned i = 0; i < SETS; i++) release(intern(set[i], SET_BYTES, 0));
    for (unsigned i = 0; i < count; i++) pthread_create(&threads[i], NULL, hit, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
    qsort(batch_ns, all, sizeof(double), ascending);
    for (unsigned i = 1; i < count; i++)
        for (unsigned n = 0; n < CYCLES; n++) took[0][n] += took[i][n];
    printf("%.1f %.1f %.1f\n", (percentile(took[0], 0.5) - empty_cycles) * ns_a_cycle, (percentile(took[0], 0.99) - empty_cycles) * ns_a_cycle, batch_ns[0][all / 2]);
}

/* The `i`th set of parameters as servers see them: few temperatures, some stop strings, seeds and biases. */
static size_t parameters(unsigned i, char bytes[256]) {
    static const double temperature[] = { 1, 0.7, 0, 0.2, 0.8, 0.9, 0.5, 0.3 }, top_p[] = { 1, 0.95, 0.9, 0.8 };
    static const char *const stop[] = { "\n\n", "</s>", "<|im_end|>", "<|eot_id|>", "Observation:", "### Human:" };
    coppice_params *p = params_new();
    unsigned h = i * 2654435761u;
    params_set_real(p, COPPICE_TEMPERATURE, temperature[h >> 29]);
    params_set_real(p, COPPICE_TOP_P, top_p[h >> 20 & 3]);
    params_set_int(p, COPPICE_MAX_TOKENS, 16 + i);
    if (h >> 8 & 1) params_set_real(p, COPPICE_REPETITION_PENALTY, 1.1);
    if (h >> 9 & 1) params_set_int(p, COPPICE_SEED, (int64_t)h * 31);
    for (unsigned n = 0; n < (h >> 12 & 3); n++) params_add_string(p, COPPICE_STOP, stop[(h >> 16) % 6], strlen(stop[(h >> 16) % 6]));
    for (unsigned n = 0; (h >> 24 & 15) == 0 && n < 20; n++) params_add_bias(p, COPPICE_LOGIT_BIAS, (h >> 3) % 30000 + n * 97, -100);
    size_t length = params_encode(p, bytes, 256);
    params_free(p);
    return length;
}

static void stream(unsigned live) {
    static const void *held[REQUESTS];
    char bytes[256];
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (i >= live) release(held[i - live]);
        held[i] = intern(bytes, parameters(request[i], bytes), COPPICE_PARAMS_TAG);
    }
}

static void live(unsigned length) {
    char bytes[SET_BYTES] = { 0 }, encoded[256];
    for (unsigned i = 0; i < 10000; i++) {
        memcpy(bytes, &i, sizeof i);
        if (length > 0) intern(bytes, length, 0);
        else intern(encoded, parameters(i, encoded), COPPICE_PARAMS_TAG);
    }
}

static void misses(void) {
    char bytes[SET_BYTES] = { 0 };
    double start = now();
    for (unsigned i = 0; i < 9000; i++) memcpy(bytes, &i, sizeof i), intern(bytes, sizeof bytes, 7);
    printf("%.0f\n", (now() - start) / 9000);
}

int main(int count, char **arguments) {
#define X(name) name = (__typeof__(name))dlsym(RTLD_DEFAULT, "coppice_" #name);
    FUNCTIONS(X)
#undef X
    const char *part = count > 1 ? arguments[1] : "";
    unsigned n = count > 2 ? (unsigned)atoi(arguments[2]) : 1;
    if (!intern || n > REQUESTS) return 2;
    make_stream();
    if (strcmp(part, "copy") == 0) intern = copy, release = drop, hits(n);
    else if (strcmp(part, "hit") == 0) hits(n);
    else if (strcmp(part, "miss") == 0) misses();
    else if (strcmp(part, "stream") == 0) stream(n);
    else if (strcmp(part, "live") == 0) live(n < SET_BYTES ? n : SET_BYTES);
    else return 2;
    return 0;
}
