/* hand.c: see hand.h. */
#include "heap/hand.h"
#include "heap/jemalloc.h"
#include "heap/packed.h"
#include <string.h>

static COLD struct hand *make(struct heap_thread *t) {
    if (t->state != THREAD_LIVE || t->rounds) return NULL;
    t->hand = je_calloc(1, sizeof *t->hand);
    if (t->hand) t->kept_given += je_malloc_usable_size(t->hand); /* it is not the program's */
    return t->hand;
}

void *hand_take_large(struct hand *h, size_t bytes) {
    for (struct hand_large *l = h->large; l < h->large + HAND_LARGE; l++) {
        void *p = l->p;
        if (!p || l->bytes < bytes || l->bytes - bytes > bytes / 8) continue;
        l->p = NULL;
        return p;
    }
    return NULL;
}

/* The newest takes the place of the oldest, unless one is free. */
static void give_large(struct hand *h, void *p, size_t bytes) {
    struct hand_large *l = &h->large[h->oldest];
    for (unsigned i = 0; i < HAND_LARGE; i++)
        if (!h->large[i].p) l = &h->large[i];
    if (l->p) packed_take_back(&l->p, 1), h->oldest = (h->oldest + 1) % HAND_LARGE;
    *l = (struct hand_large){ p, bytes };
}

/* The oldest `n` of a bin go. */
static void give_oldest(struct hand *h, size_t bin, unsigned n) {
    packed_take_back(h->block[bin], n);
    memmove(h->block[bin], h->block[bin] + n, (h->count[bin] - n) * sizeof *h->block[bin]);
    h->count[bin] = (uint8_t)(h->count[bin] - n);
}

bool hand_give_slowly(void *p, size_t bytes) {
    struct hand *h = heap_thread.hand ? heap_thread.hand : make(&heap_thread);
    size_t bin = bytes / HAND_STEP;
    if (!h) return false;
    *hand_word(p) = hand_mark(p);
    if (bin >= HAND_BINS) return give_large(h, p, bytes), true;
    if (h->count[bin] == HAND_DEPTH) give_oldest(h, bin, HAND_DEPTH / 2);
    h->block[bin][h->count[bin]++] = p;
    return true;
}

bool hand_holds_marked(const void *p, size_t bytes) {
    const struct hand *h = heap_thread.hand;
    size_t bin = bytes / HAND_STEP;
    if (!h) return false;
    for (unsigned i = 0; bin < HAND_BINS && i < h->count[bin]; i++)
        if (h->block[bin][i] == p) return true;
    for (unsigned i = 0; bin >= HAND_BINS && i < HAND_LARGE; i++)
        if (h->large[i].p == p) return true;
    return false;
}

void hand_halve(struct heap_thread *t) {
    struct hand *h = t->hand;
    for (unsigned bin = 0; h && bin < HAND_BINS; bin++) give_oldest(h, bin, (h->count[bin] + 1u) / 2);
    for (unsigned i = 0; h && i < HAND_LARGE / 2; i++) {
        struct hand_large *l = &h->large[h->oldest];
        if (l->p) packed_take_back(&l->p, 1), l->p = NULL;
        h->oldest = (h->oldest + 1) % HAND_LARGE;
    }
}

void hand_flush(struct heap_thread *t) {
    for (unsigned depth = HAND_DEPTH; depth > 0; depth /= 2) hand_halve(t);
}

void hand_thread_end(struct heap_thread *t) {
    hand_flush(t);
    if (!t->hand) return;
    t->kept_given -= je_malloc_usable_size(t->hand);
    je_free(t->hand), t->hand = NULL;
}
