/* fork.c: fork and the heap.
 *
 * jemalloc's locks are taken by fork's prepare handler and let go in both processes, so that the child finds a whole
 * heap. Two things that plain jemalloc hangs on:
 * - A signal handler forks while its thread holds a lock of the heap. The locks are counted by thread (jemalloc's calls
 *   of pthread_mutex_* come here); when the count is not zero, fork leaves the heap alone. Parent and child both go
 *   on in the interrupted code, which lets its locks go. No other thread's locks are known then: forking in a handler of
 *   a process with several threads gives a child that must not allocate, as with every allocator.
 * - Another thread holds stdio's list of files and wants memory, while fork, which has the heap, wants that list:
 *   preload/process.c takes the list before it comes here. */
#include "heap/heap.h"
#include "heap/jemalloc.h"
#include "heap/packed.h"
#include "heap/reach.h"
#include "heap/structs.h"
#include "heap/thread.h"

int heap_mutex_lock(pthread_mutex_t *m) {
    heap_thread.inside++;
    return pthread_mutex_lock(m);
}

int heap_mutex_trylock(pthread_mutex_t *m) {
    heap_thread.inside++; /* first: a handler between the two must not see a lock that is held and not counted */
    int error = pthread_mutex_trylock(m);
    if (error) heap_thread.inside--;
    return error;
}

int heap_mutex_unlock(pthread_mutex_t *m) {
    int error = pthread_mutex_unlock(m);
    heap_thread.inside--;
    return error;
}

int heap_no_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) { return 0; }

/* Forks of this thread that leave the heap alone and are under way; a handler may interrupt another fork's handlers. */
static _Thread_local unsigned left_alone;

void heap_fork_prepare(void) {
    if (heap_thread.inside > 0) {
        left_alone++;
        return;
    }
    je_jemalloc_prefork();
    structs_fork_prepare();
    packed_fork_prepare();
    heap_reserve_fork_prepare();
    reach_fork_prepare();
}

void heap_fork_parent(void) {
    if (left_alone) {
        left_alone--;
        return;
    }
    reach_fork_parent();
    heap_reserve_fork_done();
    packed_fork_done();
    structs_fork_done();
    je_jemalloc_postfork_parent();
}

void heap_fork_child(void) {
    if (left_alone) {
        left_alone--;
        return;
    }
    reach_fork_child();
    heap_reserve_fork_done();
    packed_fork_done();
    structs_fork_done();
    je_jemalloc_postfork_child();
    heap_thread.inside = 0;
}
