/* types.c: the public functions of memory types, as coppice.h has them: guard, call, return. */
#include "hook.h"
#include "sites/type.h"

EXPORT void coppice_type_push(enum coppice_type type) { type_push(type_checked(type, "coppice_type_push")); }

EXPORT void coppice_type_pop(void) { type_pop(); }

EXPORT void *coppice_alloc(size_t size, enum coppice_type type) {
    type_push(type_checked(type, "coppice_alloc"));
    void *p = own_malloc(size);
    type_pop();
    return p;
}
