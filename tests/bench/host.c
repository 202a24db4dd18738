/* host.c: the cost of a malloc/free pair. `host SIZE` prints the median ns of a pair over batches, under whatever allocator
 * is preloaded. The block is written to, so that the compiler keeps the pair. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES = 201, PAIRS = 2000 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double batch(size_t size) {
    double start = now();
    for (int i = 0; i < PAIRS; i++) {
        char *volatile p = malloc(size);
        if (!p) exit(1);
        *p = 1;
        free(p);
    }
    return (now() - start) / PAIRS;
}

int main(int count, char **arguments) {
    static double times[BATCHES];
    size_t size = count > 1 ? strtoul(arguments[1], NULL, 10) : 16;
    for (int i = 0; i < 20; i++) batch(size);
    for (int i = 0; i < BATCHES; i++) times[i] = batch(size);
    qsort(times, BATCHES, sizeof *times, ascending);
    printf("%.2f\n", times[BATCHES / 2]);
    return 0;
}
