/* host_types_are_learned.c: without rules, sites of host memory get the type that their blocks' lives show: what lives long and what is
 * soon gone lie apart from then on; the statistics say why. Sampled blocks are as good as any.
 * env: COPPICE_TYPE_LEARN=1
 * env: COPPICE_STATS=signal
 * env: COPPICE_STATS_FORMAT=json
 * env: COPPICE_STATS_FILE=/tmp/host_types_are_learned.%p */
#include "program.h"
#include <malloc.h>
#include <stdint.h>
#include <time.h>
#define NOINLINE __attribute__((noinline, noclone))

enum { KEPT = 6000, LARGEST = 3000, FAR = 1 << 30 };
static unsigned char *kept[KEPT];
static NOINLINE unsigned char *long_lived(size_t size) {
    unsigned char *p = malloc(size);
    CHECK(p && malloc_usable_size(p) >= size);
    return memset(p, (int)size, size);
}
static NOINLINE unsigned char *soon_gone(size_t size) {
    unsigned char *p = calloc(1, size);
    CHECK(p && malloc_usable_size(p) >= size && p[size - 1] == 0);
    return memset(p, 1, size);
}
static NOINLINE unsigned char *of_one_size(void) { return malloc(640); }
static NOINLINE unsigned char *grows(size_t size) { return realloc(malloc(size), size * 3); }

static void requests(unsigned count) {
    for (unsigned i = 1; i <= count; i++) {
        unsigned char *a = soon_gone(i * 37 % LARGEST + 1), *b = of_one_size(), *c = grows(i % 100 + 1);
        CHECK(a && b && c);
        memset(c, 2, (i % 100 + 1) * 3);
        free(a), free(b), free(c);
    }
}
static void wait_s(unsigned seconds) {
    for (unsigned i = 0; i < seconds * 10; i++) requests(1000), nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
}

static char json[1 << 20];
static void read_statistics(void) {
    char name[64];
    snprintf(name, sizeof name, "/tmp/host_types_are_learned.%d", getpid());
    raise(SIGUSR1);
    for (int i = 0; i < 100 && access(name, R_OK) != 0; i++) nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    FILE *file = fopen(name, "r");
    CHECK(file);
    json[fread(json, 1, sizeof json - 1, file)] = 0;
    fclose(file), unlink(name);
}
/* Does a site of this function say so? */
static int says(const char *api, const char *what) {
    for (const char *at = json; (at = strstr(at, "{\"name\":")); at++) {
        const char *end = strchr(at, '}');
        char site[1024];
        if (!end || (size_t)(end - at) >= sizeof site) continue;
        memcpy(site, at, (size_t)(end - at)), site[end - at] = 0;
        if (strstr(site, "host_types_are_learned+") && strstr(site, api) && strstr(site, what)) return 1;
    }
    return 0;
}
static uintptr_t distance(const void *a, const void *b) { return a < b ? (uintptr_t)b - (uintptr_t)a : (uintptr_t)a - (uintptr_t)b; }

int main(void) {
    for (unsigned i = 0; i < KEPT; i++) kept[i] = long_lived(i * 53 % LARGEST + 1);
    requests(100000);
    read_statistics();
    CHECK(says("\"api\":\"calloc\"", "\"type\":\"episodic\""));
    CHECK(says("\"api\":\"malloc\"", "\"type\":\"procedural\"")); /* of_one_size */
    CHECK(!says("", "\"type\":\"semantic\""));              /* nothing has lived long yet */
    wait_s(12);
    read_statistics();
    CHECK(says("\"type\":\"semantic\"", "\"reason\":\"learned\",\"observations\":"));
    requests(5000); /* a thread learns of it at its next rare publication */
    unsigned far = 0;
    for (unsigned i = 0; i < 1000; i++) {
        unsigned char *a = long_lived(100), *b = soon_gone(100), *c = malloc(100);
        far += distance(a, b) >= FAR && distance(a, c) >= FAR;
        free(a), free(b), free(c);
    }
    CHECK(far > 900); /* some are sampled */
    for (unsigned i = 0; i < KEPT; i++) {
        size_t size = i * 53 % LARGEST + 1;
        CHECK(kept[i][0] == (unsigned char)size && kept[i][size - 1] == (unsigned char)size);
        free(kept[i]);
    }
    return 0;
}
