/* COPPICE_PACK=auto, which is the default: a small heap is one of size classes; one of many small blocks begins to pack, gives free pages of
 * it back while it goes on, and ends packing where threads are in each other's way. What was packed till then is still whole, and is freed.
 * 0 and a profile of contents never pack. How a block lies shows in its usable size: a packed one has what was asked for. */
#include "memory.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { ASKED = 1000, BLOCKS = 40000, THREADS = 8, STEPS = 400, OFTEN = 600 };
static void *(*volatile get)(size_t) = malloc;
static char *block[BLOCKS];
static _Atomic int stop;

static bool packs(void) {
    void *p = get(ASKED);
    bool packed = malloc_usable_size(p) == ASKED;
    free(p);
    return packed;
}

static void rest(void) { nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL); }

/* The heap looks at itself now and then, when it is asked for something. */
static void work(void) {
    for (int i = 0; i < 2000; i++) free(get(64));
    rest();
}

static void fill(void) {
    for (int i = 0; i < BLOCKS; i++) CHECK((block[i] = get(ASKED))), memset(block[i], i, ASKED);
}

static void begins(void) {
    for (int i = 0; i < OFTEN && !packs(); i++) work();
    CHECK(packs());
    for (int i = 0; i < BLOCKS; i++) free(block[i]);
    malloc_trim(0);
    fill();
}

/* It has asked for much by now, and looks at itself. */
static void small_ones_do_not(void) {
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 1000; j++) free(get(ASKED + j));
        work();
    }
    CHECK(!packs());
}

/* Not idle: an idle process is purged. */
static void free_pages_go_while_it_works(void) {
    long before = mapped_kib("Anonymous");
    for (int i = 0; i < BLOCKS; i++)
        if (i / 1000 % 2) free(block[i]), block[i] = NULL;
    long half = (long)BLOCKS / 2 * ASKED / 1024;
    for (int i = 0; i < OFTEN && before - mapped_kib("Anonymous") < half / 2; i++) work();
    printf("%ld of %ld KiB went\n", before - mapped_kib("Anonymous"), half);
    CHECK(before - mapped_kib("Anonymous") >= half / 2);
}

/* Sizes that nobody has at hand twice. */
static void *crowd(void *argument) {
    uint64_t s = 88172645463325252ull + (uintptr_t)argument * 7919;
    static _Thread_local void *own[STEPS];
    while (!atomic_load(&stop))
        for (int i = 0; i < STEPS; i++) {
            s ^= s << 13, s ^= s >> 7, s ^= s << 17;
            free(own[i]);
            CHECK((own[i] = get(1100 + s % 20000)));
        }
    for (int i = 0; i < STEPS; i++) free(own[i]);
    return NULL;
}

/* For a second or two: five looks and more. While they are at it a block that is not packed says nothing: the lock may have been taken. */
static void meet(void) {
    pthread_t thread[THREADS];
    atomic_store(&stop, 0);
    for (intptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&thread[i], NULL, crowd, (void *)(i + 1)) == 0);
    for (int i = 0; i < 50; i++) work();
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
}

static void ends_in_a_crowd(void) {
    for (int i = 0; i < 10 && packs(); i++) meet();
    CHECK(!packs());
}

static void what_was_packed_is_whole(void) {
    for (int i = 0; i < BLOCKS; i++) {
        for (int j = 0; block[i] && j < ASKED; j++) CHECK(block[i][j] == (char)i);
        free(block[i]), block[i] = NULL;
    }
    malloc_trim(0);
}

static void never(const char *name, const char *value, char *self) {
    if (fork() == 0) {
        setenv(name, value, 1);
        execl(self, self, "never", (char *)NULL);
        _exit(3);
    }
    int status;
    CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int count, char **arguments) {
    small_ones_do_not();
    long before = mapped_kib("Anonymous");
    fill();
    if (count > 1) {
        for (int i = 0; i < 20; i++) work();
        CHECK(!packs());
        return 0;
    }
    begins();
    free_pages_go_while_it_works();
    ends_in_a_crowd();
    what_was_packed_is_whole();
    printf("%ld KiB held after all was freed\n", mapped_kib("Anonymous") - before);
    CHECK(mapped_kib("Anonymous") - before < BLOCKS / 1024 * ASKED / 4);
    never("COPPICE_PACK", "0", arguments[0]);
    never("COPPICE_INTERN", "observe", arguments[0]);
    return 0;
}
