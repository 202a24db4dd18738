/* libc_memory.c: memset and its relatives, so that large clears of our own heap give pages back (src/heap/clear.h).
 * A small or foreign call costs a compare and the jump: the real function is called in tail position. explicit_bzero is
 * not hooked: it really overwrites. ioctl is watched for the one request that forbids clearing in place. */
#include "base/start.h"
#include "heap/clear.h"
#include "heap/heap.h"
#include "next.h"
#include "symbol_lookup.h"
#include <dlfcn.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
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
    *(void **)&next.ioctl = real_dlsym(RTLD_NEXT, "ioctl");
}

static inline void *fill(void *p, int value, size_t length) { return (likely(next.memset != NULL) ? next.memset : fill_early)(p, value, length); }

static COLD void *clear_large(void *p, size_t length, const void *site) {
    if (coppice_on() && heap_owns(p) && heap_clear(p, length, site, next.memset ? next.memset : fill_early)) return p;
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
