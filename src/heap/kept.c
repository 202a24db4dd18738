/* kept.c: see kept.h. */
#include "heap/kept.h"
#include "heap/jemalloc.h"
#include "heap/thread.h"

bool kept_any_large;

void *kept_take(size_t size) {
    struct heap_thread *t = &heap_thread;
    for (struct kept_block *k = t->kept; k < t->kept + KEPT_BLOCKS; k++) {
        if (size > k->usable || size <= k->usable / 4 * 3) continue;
        void *p = k->at;
        t->kept_taken += k->usable;
        *k = (struct kept_block){ 0 };
        return p;
    }
    return NULL;
}

static void release(struct heap_thread *t, struct kept_block *k) {
    void *p = k->at;
    t->kept_given -= k->usable; /* jemalloc counts it as freed from now on */
    *k = (struct kept_block){ 0 };
    je_free(p);
}

/* The newest is first; the oldest makes room. */
bool kept_give(void *p) {
    struct heap_thread *t = &heap_thread;
    size_t usable = je_malloc_usable_size(p);
    if (usable < KEPT_LEAST || usable > KEPT_MOST || t->rounds || t->state != THREAD_LIVE) return false;
    struct kept_block oldest = t->kept[KEPT_BLOCKS - 1];
    if (t->kept[0].at) {
        t->kept[1] = t->kept[0];
        if (oldest.at) release(t, &oldest);
    }
    t->kept[0] = (struct kept_block){ .at = p, .usable = usable };
    t->kept_given += usable;
    return true;
}

void kept_release(bool all) {
    struct heap_thread *t = &heap_thread;
    for (struct kept_block *k = t->kept; k < t->kept + KEPT_BLOCKS; k++)
        if (k->at && (all || ++k->age > KEPT_AGE)) release(t, k);
}
