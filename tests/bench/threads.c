/* threads.c: malloc among threads, after two known loads. `threads larson|xmalloc THREADS SECONDS` prints millions of operations
 * a second.
 * larson (after Larson and Krishnan, 1998): a server's sessions. Each thread owns slots, and again and again frees a random one
 * and puts a new block of random size (16 to 1000 bytes) in its place; after a while it hands its slots to a new thread and
 * ends, so that blocks are freed by others than allocated them.
 * xmalloc (after Lever and Boreham, 2000): producers allocate batches, consumers free what another thread allocated. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 2000, ROUNDS = 40000, BATCH = 120, QUEUE = 256 };
static _Atomic int stop, running;
static _Atomic long operations;

static unsigned next_random(unsigned *seed) { return (*seed = *seed * 1664525u + 1013904223u) >> 8; }
static void *block(unsigned *seed) {
    size_t size = 16 + next_random(seed) % 985;
    char *p = malloc(size);
    if (!p) exit(1);
    p[0] = p[size - 1] = 1;
    return p;
}

/* --- larson */
struct session { unsigned seed; void *slot[SLOTS]; };
static void *larson(void *with) {
    struct session *s = with;
    long done = 0;
    for (; done < ROUNDS && !atomic_load_explicit(&stop, memory_order_relaxed); done++) {
        unsigned i = next_random(&s->seed) % SLOTS;
        free(s->slot[i]);
        s->slot[i] = block(&s->seed);
    }
    atomic_fetch_add(&operations, done);
    pthread_t heir;
    if (!atomic_load(&stop) && pthread_create(&heir, NULL, larson, s) == 0) return pthread_detach(heir), NULL;
    for (int i = 0; i < SLOTS; i++) free(s->slot[i]);
    free(s);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* --- xmalloc */
struct batch { void *block[BATCH]; };
static struct batch *queue[QUEUE];
static unsigned queued;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void *produce(void *with) {
    unsigned seed = (unsigned)(size_t)with;
    while (!atomic_load(&stop)) {
        struct batch *b = malloc(sizeof *b);
        for (int i = 0; i < BATCH; i++) b->block[i] = block(&seed);
        pthread_mutex_lock(&lock);
        while (queued == QUEUE && !atomic_load(&stop)) pthread_cond_wait(&changed, &lock);
        if (queued < QUEUE) queue[queued++] = b;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}
static void *consume(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (queued == 0 && !atomic_load(&stop)) pthread_cond_wait(&changed, &lock);
        struct batch *b = queued ? queue[--queued] : NULL;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        if (!b) break;
        for (int i = 0; i < BATCH; i++) free(b->block[i]);
        free(b);
        atomic_fetch_add(&operations, BATCH);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    int is_larson = argc > 1 && strcmp(argv[1], "larson") == 0, threads = argc > 2 ? atoi(argv[2]) : 4;
    double seconds = argc > 3 ? atof(argv[3]) : 1;
    pthread_t thread;
    double start = now();
    for (int i = 0; i < threads; i++) {
        atomic_fetch_add(&running, 1);
        if (is_larson) {
            struct session *s = calloc(1, sizeof *s);
            s->seed = (unsigned)i + 1;
            pthread_create(&thread, NULL, larson, s);
        } else {
            pthread_create(&thread, NULL, i % 2 ? consume : produce, (void *)(size_t)(i + 1));
        }
        pthread_detach(thread);
    }
    while (now() - start < seconds) nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    double took = now() - start;
    long done = atomic_load(&operations);
    atomic_store(&stop, 1);
    while (atomic_load(&running)) {
        pthread_cond_broadcast(&changed);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    printf("%.3f\n", (double)done / took / 1e6);
    return 0;
}
