/* type.c: pushing and popping types; see type.h. */
#include "sites/type.h"
#include "base/log.h"
#include "stats/names.h"
#include <stdatomic.h>
#include <string.h>

_Thread_local struct thread_type thread_type;

bool type_named(const char *name, size_t length, enum coppice_type *type) {
    for (unsigned i = 0; i < COPPICE_TYPES; i++)
        if (strlen(type_name(i)) == length && memcmp(type_name(i), name, length) == 0) {
            *type = (enum coppice_type)i;
            return true;
        }
    return false;
}

static COLD void complain(unsigned value, const char *where) {
    static _Atomic bool said;
    char buffer[16];
    struct text number = text_in(buffer, sizeof buffer);
    if (atomic_exchange(&said, true)) return;
    text_u64(&number, value);
    log_line(where, ": ", buffer, " is not a type; accepted are COPPICE_UNTYPED (0) to COPPICE_EMOTIONAL (4); taken as untyped", NULL);
}

enum coppice_type type_checked(unsigned value, const char *where) {
    if (likely(value < COPPICE_TYPES)) return (enum coppice_type)value;
    complain(value, where);
    return COPPICE_UNTYPED;
}

/* The depth is raised first: a handler that interrupts finds a stack whose top it leaves alone. */
void type_push(enum coppice_type type) {
    struct thread_type *t = &thread_type;
    uint32_t depth = t->depth++;
    if (depth >= COPPICE_TYPE_DEPTH) return;
    t->outer[depth] = t->now;
    t->now = (uint8_t)type;
    t->pushed = true;
}

void type_pop(void) {
    struct thread_type *t = &thread_type;
    if (t->depth == 0 || --t->depth >= COPPICE_TYPE_DEPTH) return;
    t->now = t->outer[t->depth];
    t->pushed = t->depth > 0;
}
