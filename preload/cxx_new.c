/* cxx_new.c: C++ operator new and delete, every form, under their mangled names and without libstdc++.
 * When there is no memory, or we stand aside, the next definition (libstdc++'s own) answers: it calls the new_handler and
 * throws std::bad_alloc. It is looked up then and not before, because libstdc++ may be loaded late and for one library only. */
#include "hook.h"
#include "symbol_lookup.h"

typedef struct { char unused; } nothrow; /* const std::nothrow_t &: a pointer that nobody reads */

/* libstdc++'s definition: in lookup order, else in the libstdc++ that a plugin brought along; NULL if there is none. */
static COLD void *definition(const char *name) { return next_symbol(name, "libstdc++.so.6"); }

/* NEW(mangled name, parameters, arguments, ours, what malloc would be called with): as ALLOCATES, with C++'s answer to failure.
 * The definition is called in tail position, so that an exception leaves through no frame of ours. */
#define NEW(name, parameters, arguments, ours, plain) \
    void *name parameters; \
    static __attribute__((noinline)) void *name##_slowly parameters { \
        static void *(*_Atomic theirs) parameters; \
        bool pass = hook_turn() == PASS; \
        if (!pass) { \
            void *p = plain; \
            if (likely(p != NULL)) return p; \
        } \
        void *(*answer) parameters = theirs; \
        if (!answer) theirs = answer = (void *(*) parameters)definition(#name); \
        return answer ? answer arguments : plain; \
    } \
    EXPORT void *name parameters { \
        void *p; \
        if (likely(heap_take(size)) && likely((p = ours) != NULL)) return p; \
        heap_thread.caller = __builtin_return_address(0); \
        return name##_slowly arguments; \
    }

#define ALIGNED je_aligned_alloc(alignment < 16 ? 16 : alignment, size)
NEW(_Znwm, (size_t size), (size), je_malloc(size), hook_slowly(size, 0, API_NEW))
NEW(_Znam, (size_t size), (size), je_malloc(size), hook_slowly(size, 0, API_NEW))
NEW(_ZnwmRKSt9nothrow_t, (size_t size, const nothrow *tag), (size, tag), je_malloc(size), hook_slowly(size, 0, API_NEW))
NEW(_ZnamRKSt9nothrow_t, (size_t size, const nothrow *tag), (size, tag), je_malloc(size), hook_slowly(size, 0, API_NEW))
NEW(_ZnwmSt11align_val_t, (size_t size, size_t alignment), (size, alignment), ALIGNED, hook_slowly(size, alignment, API_NEW))
NEW(_ZnamSt11align_val_t, (size_t size, size_t alignment), (size, alignment), ALIGNED, hook_slowly(size, alignment, API_NEW))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const nothrow *tag), (size, alignment, tag), ALIGNED, hook_slowly(size, alignment, API_NEW))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const nothrow *tag), (size, alignment, tag), ALIGNED, hook_slowly(size, alignment, API_NEW))

/* The size that a sized delete names is not relied on: programs get it wrong, and glibc never minded. */
#define DELETE(name, parameters, arguments) \
    void name parameters; \
    EXPORT void name parameters { \
        static void (*_Atomic theirs) parameters; \
        if (likely(heap_owns_fast(p)) || heap_owns(p) || atomic_load_explicit(&coppice_mode_now, memory_order_relaxed) != MODE_OFF) { \
            own_free(p); \
            return; \
        } \
        void (*answer) parameters = theirs; \
        if (!answer) theirs = answer = (void (*) parameters)definition(#name); \
        if (answer) answer arguments; \
        else own_free(p); \
    }
DELETE(_ZdlPv, (void *p), (p))
DELETE(_ZdaPv, (void *p), (p))
DELETE(_ZdlPvm, (void *p, size_t size), (p, size))
DELETE(_ZdaPvm, (void *p, size_t size), (p, size))
DELETE(_ZdlPvRKSt9nothrow_t, (void *p, const nothrow *tag), (p, tag))
DELETE(_ZdaPvRKSt9nothrow_t, (void *p, const nothrow *tag), (p, tag))
DELETE(_ZdlPvSt11align_val_t, (void *p, size_t alignment), (p, alignment))
DELETE(_ZdaPvSt11align_val_t, (void *p, size_t alignment), (p, alignment))
DELETE(_ZdlPvmSt11align_val_t, (void *p, size_t size, size_t alignment), (p, size, alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *p, size_t size, size_t alignment), (p, size, alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t alignment, const nothrow *tag), (p, alignment, tag))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t alignment, const nothrow *tag), (p, alignment, tag))
