/* hints.h: what the compiler cannot know: which branches are rare, which functions are slow paths. */
#ifndef COPPICE_BASE_HINTS_H
#define COPPICE_BASE_HINTS_H
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define COLD __attribute__((noinline, cold))
#define HOT static inline __attribute__((always_inline)) /* a piece of a fast path: its callers are slow paths but one */
#define EXPORT __attribute__((visibility("default")))
/* Invariants: checked in debug builds (make debug), free in others. A broken one is reported and stops the test. */
#ifdef COPPICE_DEBUG
#define DEBUG_BUILD 1
void invariant_broken(const char *what, const char *file, int line) __attribute__((noreturn));
#define invariant(x) (likely(x) ? (void)0 : invariant_broken(#x, __FILE__, __LINE__))
#else
#define DEBUG_BUILD 0
#define invariant(x) ((void)sizeof(x))
#endif
#endif
