/* stress: threads take, grow, pass on and give back blocks of all sizes and check what is in them; more threads at once than there are
 * slots for; meanwhile the process forks. */
#include "program.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { THREADS = 6, SHARED = 512, SECONDS = 4, CROWD = 1200 };
struct block { size_t size; unsigned char fill; unsigned char bytes[]; };
static struct block *_Atomic shared[SHARED];
static _Atomic int stop, waiting;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* closed while the crowd gathers */

static void check(const struct block *b) {
    for (size_t i = 0; i < b->size; i += b->size / 64 + 1) CHECK(b->bytes[i] == b->fill);
    if (b->size) CHECK(b->bytes[b->size - 1] == b->fill);
}

static struct block *fill(struct block *b, size_t size, unsigned value) {
    CHECK(b && (uintptr_t)b % 16 == 0);
    b->size = size, b->fill = (unsigned char)value;
    memset(b->bytes, b->fill, size);
    return b;
}

static void *work(void *argument) {
    unsigned random = (unsigned)(uintptr_t)argument * 2654435761u + 1;
    while (!stop) {
        random = random * 1103515245 + 12345;
        unsigned kind = random >> 28, value = random >> 16;
        size_t size = (random >> 8) % (kind == 0 ? 3000000 : kind < 4 ? 100000 : 1500), all = size + sizeof(struct block);
        struct block *b = kind % 3 == 0   ? calloc(1, all)
                          : kind % 3 == 1 ? malloc(all)
                                          : aligned_alloc((size_t)16 << kind % 9, (all + 4095) & ~(size_t)4095);
        CHECK(b);
        if (kind % 3 == 0)
            for (size_t i = 0; i < all; i += 61) CHECK(((char *)b)[i] == 0);
        b = atomic_exchange(&shared[value % SHARED], fill(b, size, value));
        if (!b) continue;
        check(b);
        if (kind < 8) {
            size_t kept = b->size < size ? b->size : size;
            b = realloc(b, all);
            CHECK(b);
            b->size = kept;
            check(b);
        }
        free(b);
    }
    return NULL;
}

static void *crowd(void *argument) {
    void *p = malloc(1000);
    waiting++;
    pthread_mutex_lock(&gate), pthread_mutex_unlock(&gate);
    free(p);
    for (int i = 0; i < 200; i++) free(malloc((size_t)i));
    return NULL;
}

static void child(void) {
    for (int i = 0; i < SHARED; i++)
        if (shared[i]) check(shared[i]), free(shared[i]);
    for (int i = 0; i < 3000; i++) free(malloc((size_t)i * 10));
}

int main(void) {
    static pthread_t threads[THREADS], many[CROWD];
    pthread_attr_t small;
    pthread_attr_init(&small), pthread_attr_setstacksize(&small, 64 << 10);
    for (uintptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    time_t end = time(NULL) + SECONDS;
    while (time(NULL) < end) {
        IN_CHILD(child());
        usleep(50000);
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < SHARED; i++) free(shared[i]), shared[i] = NULL;
    pthread_mutex_lock(&gate);
    int started = 0;
    while (started < CROWD && pthread_create(&many[started], &small, crowd, NULL) == 0) started++;
    while (waiting < started) usleep(1000);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++) pthread_join(many[i], NULL);
    size_t left = mallinfo2().uordblks;
    printf("%d threads at once, %zu bytes live at the end\n", started, left);
    CHECK(left < 2 << 20);
    return 0;
}
