/* lock.c: the slow half of lock.h: spin a little, then sleep until woken. */
#include "base/lock.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 100 };

static void futex(_Atomic uint32_t *word, int operation, uint32_t value) {
    int saved = errno;
    syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
    errno = saved;
}

void lock_wait(struct lock *l) {
    for (int i = 0; i < SPINS; i++) {
        uint32_t expected = 0;
        if (atomic_load_explicit(&l->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&l->word, &expected, 1, memory_order_acquire, memory_order_relaxed))
            return;
    }
    /* Once we have slept we cannot know that nobody else sleeps: hold it as 2. */
    while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0) futex(&l->word, FUTEX_WAIT_PRIVATE, 2);
}

void lock_wake(struct lock *l) { futex(&l->word, FUTEX_WAKE_PRIVATE, 1); }

#ifdef COPPICE_DEBUG
static _Thread_local uint32_t held[RANK_COUNT];

void lock_rank_enter(const struct lock *l) {
    for (unsigned rank = l->rank + 1; rank < RANK_COUNT; rank++) invariant(held[rank] == 0);
    held[l->rank]++;
}

void lock_rank_leave(const struct lock *l) {
    invariant(held[l->rank] > 0);
    held[l->rank]--;
}
#endif
