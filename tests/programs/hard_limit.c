// env: COPPICE_DTESN_LIMIT=64M
// env: COPPICE_DTESN_HARD=1
/* Beyond a hard limit malloc and its kin answer NULL with ENOMEM, for large blocks and for small ones; what was freed
 * may be had again. */
#include "program.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

/* Takes blocks until there are no more; returns the bytes. They hang in a list. */
static size_t take_all(size_t size, void ***list) {
    size_t sum = 0;
    for (;;) {
        errno = 0;
        void **p = malloc(size);
        if (!p) {
            CHECK(errno == ENOMEM);
            return sum;
        }
        *p = *list, *list = (void **)p;
        sum += size;
        CHECK(sum < 200 * MIB);
    }
}
static void give_all(void **list) {
    while (list) {
        void **next = *list;
        free(list);
        list = next;
    }
}

static void *other_thread(void *unused) {
    void **list = NULL;
    size_t got = take_all(4096, &list);
    CHECK(got > 40 * MIB && got <= 72 * MIB);
    give_all(list);
    return unused;
}

int main(void) {
    void **list = NULL;
    CHECK(malloc(100 * MIB) == NULL && errno == ENOMEM);
    CHECK(calloc(100, MIB) == NULL && aligned_alloc(4096, 100 * MIB) == NULL);
    void *p = NULL;
    CHECK(posix_memalign(&p, 64, 100 * MIB) == ENOMEM && p == NULL);
    for (int round = 0; round < 3; round++) {
        size_t large = take_all(MIB, &list);
        CHECK(large >= 48 * MIB && large <= 64 * MIB);
        give_all(list), list = NULL;
        size_t small = take_all(1000, &list); /* up to 64 blocks between two looks */
        CHECK(small >= 40 * MIB && small <= 66 * MIB);
        give_all(list), list = NULL;
    }
    p = malloc(MIB);
    memset(p, 7, MIB);
    CHECK(realloc(p, 100 * MIB) == NULL && errno == ENOMEM);
    for (size_t i = 0; i < MIB; i++) CHECK(((char *)p)[i] == 7); /* the old block is untouched */
    free(p);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    p = malloc(30 * MIB);
    CHECK(p != NULL);
    return 0;
}
