/* libc_memory.c: memset and its relatives, so that large clears of our own heap give pages back (src/heap/clear.h).
 * A small or foreign call costs a compare and the jump: the real function is called in tail position. explicit_bzero is
 * not hooked: it really overwrites. ioctl is watched for the one request that forbids clearing in place,
 * madvise for the program's own use on memory of ours. */
#include "base/start.h"
#include "heap/clear.h"
#include "heap/heap.h"
#include "heap/reach.h"
#include "heap/shared.h"
#include "heap/thread.h"
#include "next.h"
#include "symbol_lookup.h"
#include <dlfcn.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <wchar.h>

/* Until the real functions are known (constructors of other libraries run before ours): wmemset, which nobody hooks. The
 * edges are volatile, or the compiler would call memset. */
static void *fill_early(void *p, int value, size_t length) {
    volatile unsigned char *at = p, *end = at + length;
    while (at < end && (uintptr_t)at % sizeof(wchar_t) != 0) *at++ = (unsigned char)value;
    size_t words = (size_t)(end - at) / sizeof(wchar_t);
    wmemset((wchar_t *)(uintptr_t)at, (wchar_t)(0x01010101u * (unsigned char)value), words);
    for (at += words * sizeof(wchar_t); at < end; at++) *at = (unsigned char)value;
    return p;
}

/* Also in a process that stands aside, where the rest of the table stays empty. */
__attribute__((constructor(101))) static void find_real_ones(void) {
    *(void **)&next.memset = real_dlsym(RTLD_NEXT, "memset");
    *(void **)&next.__memset_chk = real_dlsym(RTLD_NEXT, "__memset_chk");
    *(void **)&next.madvise = real_dlsym(RTLD_NEXT, "madvise");
    *(void **)&next.ioctl = real_dlsym(RTLD_NEXT, "ioctl");
}

static inline void *fill(void *p, int value, size_t length) { return (likely(next.memset != NULL) ? next.memset : fill_early)(p, value, length); }

/* In a handler that interrupted the heap itself by writing: the interrupted code has the lock. */
static COLD void *clear_large(void *p, size_t length, const void *site) {
    if (coppice_on() && heap_thread.inside == 0 && heap_owns(p) && heap_clear(p, length, site, next.memset ? next.memset : fill_early)) return p;
    return fill(p, 0, length);
}

EXPORT void *memset(void *p, int value, size_t length) {
    if (unlikely(length >= HEAP_CLEAR_LEAST) && (unsigned char)value == 0) return clear_large(p, length, __builtin_return_address(0));
    return fill(p, value, length);
}

EXPORT void bzero(void *p, size_t length) {
    if (unlikely(length >= HEAP_CLEAR_LEAST)) clear_large(p, length, __builtin_return_address(0));
    else fill(p, 0, length);
}

/* The fortified memset: the room is checked by the real one, which ends the program as it would without us. */
void *__memset_chk(void *p, int value, size_t length, size_t room);
EXPORT void *__memset_chk(void *p, int value, size_t length, size_t room) {
    if (unlikely(length > room)) return next.__memset_chk ? next.__memset_chk(p, value, length, room) : p;
    if (unlikely(length >= HEAP_CLEAR_LEAST) && (unsigned char)value == 0) return clear_large(p, length, __builtin_return_address(0));
    return fill(p, value, length);
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (unlikely(request == UFFDIO_REGISTER)) heap_clear_forbid();
    return likely(next.ioctl != NULL) ? next.ioctl(fd, request, argument) : (int)syscall(SYS_ioctl, fd, request, argument);
}

static int advise(void *p, size_t length, int advice) {
    return likely(next.madvise != NULL) ? next.madvise(p, length, advice) : (int)syscall(SYS_madvise, p, length, advice);
}

/* Shared pages of our heap (heap/shared.h) cannot be given back as anonymous ones are. */
static COLD int give_back(void *p, size_t length, int advice) {
    heap_thread.inside++, reach_wait();
    int result = heap_unshare(p, length) ? 0 : advise(p, length, advice), error = errno;
    reach_go_on(), heap_thread.inside--;
    errno = error;
    return result;
}

/* Our own calls come here too, with `inside` counted where they are about the heap. */
EXPORT int madvise(void *p, size_t length, int advice) {
    bool gives_back = advice == MADV_DONTNEED || advice == MADV_FREE;
    return gives_back && heap_thread.inside == 0 && heap_owns(p) ? give_back(p, length, advice) : advise(p, length, advice);
}

/* A page that is out of reach while its mapping moves would be lost. */
EXPORT void *mremap(void *old, size_t length, size_t new_length, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    void *at = va_arg(rest, void *);
    va_end(rest);
    bool waits = heap_thread.inside == 0 && heap_owns(old);
    if (waits) heap_thread.inside++, reach_wait();
    void *moved = (void *)syscall(SYS_mremap, old, length, new_length, flags, at);
    int error = errno;
    if (waits) reach_go_on(), heap_thread.inside--;
    errno = error;
    return moved;
}
