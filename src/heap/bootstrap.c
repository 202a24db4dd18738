/* bootstrap.c: memory for those who ask before the heap is up, and from inside its initialisation.
 * A fixed block of .bss, handed out from below; each piece has its size in the word before it. Nothing is reused: what is
 * allocated that early (the dynamic linker's tables, another library's constructor) lives as long as the process. */
#include "heap/heap.h"
#include "stats/counters.h"
#include <errno.h>
#include <stdatomic.h>

enum { ARENA = 1 << 20, HEAD = 16 };
static _Alignas(4096) char arena[ARENA];
static _Atomic size_t used;

bool bootstrap_owns(const void *p) { return (uintptr_t)p - (uintptr_t)arena < ARENA; }

static size_t *size_word(const void *p) { return (size_t *)((uintptr_t)p - sizeof(size_t)); }
size_t bootstrap_usable_size(const void *p) { return *size_word(p); }

/* Where a block goes when `from` bytes are taken; ARENA when there is no room. */
static size_t place(size_t from, size_t size, size_t alignment) {
    if (size > ARENA || alignment > ARENA) return ARENA;
    size_t at = (from + HEAD + alignment - 1) & -alignment;
    return at + size > ARENA ? ARENA : at;
}

/* Zeroed (the arena is used once), aligned to at least 16. */
void *bootstrap_alloc(size_t size, size_t alignment) {
    if (alignment < 16) alignment = 16;
    size_t from = atomic_load(&used), at;
    do {
        at = place(from, size, alignment);
        if (at == ARENA) {
            errno = ENOMEM;
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&used, &from, at + size));
    *size_word(arena + at) = size;
    counter_add(&counters->host.bootstrap_bytes, size);
    return arena + at;
}
