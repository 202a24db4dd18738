/* type.h: the type that a thread has pushed, and the names of types.
 *
 * A *type* (enum coppice_type) says how memory lives. A thread pushes and pops types by the public API; the innermost one
 * holds for whatever it allocates, on the host and on a device, and wins over every rule. It is one byte of TLS, so asking
 * costs a load. A thread that has pushed nothing, or suspends by COPPICE_UNTYPED, says COPPICE_UNTYPED. */
#ifndef COPPICE_SITES_TYPE_H
#define COPPICE_SITES_TYPE_H
#include "base/hints.h"
#include "coppice/coppice.h"
#include <stdbool.h>
#include <stdint.h>

struct thread_type {
    uint8_t now;    /* the innermost type */
    uint8_t pushed; /* is any push open? Then `now` holds even when it is COPPICE_UNTYPED */
    uint8_t outer[COPPICE_TYPE_DEPTH];
    uint32_t depth; /* open pushes, those beyond COPPICE_TYPE_DEPTH too */
};
extern _Thread_local struct thread_type thread_type __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* What a rule may say of small host memory besides: parameter structs (heap/structs.h). No thread pushes it and no device has it. */
enum { TYPE_PARAMS = COPPICE_TYPES };

/* The calling thread's type; one load. */
static inline enum coppice_type type_now(void) { return (enum coppice_type)thread_type.now; }
static inline bool type_is_pushed(void) { return thread_type.pushed; }

/* A value from outside: what is no type is COPPICE_UNTYPED, and said so once. `where` is the function that was called. */
enum coppice_type type_checked(unsigned value, const char *where);
void type_push(enum coppice_type type);
void type_pop(void);

/* The type of that name (`length` bytes); false: there is none. "untyped" is one. (names.h has the way back.) */
bool type_named(const char *name, size_t length, enum coppice_type *type);
#endif
