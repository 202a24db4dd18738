/* hand.h: packed blocks (packed.h) that a thread has *at hand*: those it freed last, for its next requests of the same size.
 *
 * Blocks of up to 1 KiB have a bin for each size, HAND_DEPTH deep; of larger ones the last HAND_LARGE are kept, and one serves a request
 * that is up to an eighth smaller. A bin that is full gives half of it back, so that the heap's one lock is taken once for several; and of all
 * that lies there the older half goes back now and then (thread.c), so that nothing stays that the thread does not come back to. A block
 * at hand is free for the program and live for its neighbours. Its second word is a mark, so that one that is freed twice is found;
 * whoever takes it gets the mark removed.
 * All is the owner's; nothing is made in a thread that has no slot (thread.h) or has ended. */
#ifndef COPPICE_HEAP_HAND_H
#define COPPICE_HEAP_HAND_H
#include "heap/thread.h"
#include <stdbool.h>
#include <stddef.h>

enum { HAND_STEP = 16, HAND_BINS = 65, HAND_DEPTH = 8, HAND_LARGE = 4, HAND_MARK = 1 /* its word of a block */ };

struct hand {
    uint8_t count[HAND_BINS]; /* by size with the header, in steps of 16 bytes */
    void *block[HAND_BINS][HAND_DEPTH];
    struct hand_large { void *p; size_t bytes; } large[HAND_LARGE]; /* NULL: none */
    unsigned oldest;          /* of the large ones */
};

/* What stands in the second word of p while it is at hand. */
static inline size_t hand_mark(const void *p) { return ~(uintptr_t)p; }
static inline size_t *hand_word(void *p) { return (size_t *)p + HAND_MARK; }

/* A block of `bytes` with its header, or of a little more where it is large; NULL: none. */
void *hand_take_large(struct hand *h, size_t bytes);
static inline void *hand_take(size_t bytes) {
    struct hand *h = heap_thread.hand;
    if (unlikely(!h)) return NULL;
    size_t bin = bytes / HAND_STEP;
    void *p = likely(bin < HAND_BINS) ? (likely(h->count[bin] > 0) ? h->block[bin][--h->count[bin]] : NULL) : hand_take_large(h, bytes);
    if (likely(p != NULL)) *hand_word(p) = 0;
    return p;
}

/* p, which has `bytes`, is at hand from now on; false: this thread has no hand. */
bool hand_give_slowly(void *p, size_t bytes);
static inline bool hand_give(void *p, size_t bytes) {
    struct hand *h = heap_thread.hand;
    size_t bin = bytes / HAND_STEP;
    if (unlikely(!h || bin >= HAND_BINS || h->count[bin] == HAND_DEPTH)) return hand_give_slowly(p, bytes);
    *hand_word(p) = hand_mark(p);
    h->block[bin][h->count[bin]++] = p;
    return true;
}
/* Is p, which has `bytes`, at hand already? What a program wrote may look like the mark: then the hand is looked through. */
bool hand_holds_marked(const void *p, size_t bytes) COLD;
static inline bool hand_holds(void *p, size_t bytes) { return unlikely(*hand_word(p) == hand_mark(p)) && hand_holds_marked(p, bytes); }

/* The older half of what the thread has at hand goes back; all of it; and, at the thread's end, the hand itself. */
void hand_halve(struct heap_thread *t);
void hand_flush(struct heap_thread *t);
void hand_thread_end(struct heap_thread *t);
#endif
