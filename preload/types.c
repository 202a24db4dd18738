/* types.c: the public functions of memory types, as coppice.h has them: guard, call, return. */
#include "hook.h"
#include "sites/type.h"

/* A thread that has types comes to the slow half of every hook. */
static void reclassify(void) {
    if (coppice_on()) heap_thread_classify();
}

EXPORT void coppice_type_push(enum coppice_type type) { type_push(type_checked(type, "coppice_type_push")), reclassify(); }

EXPORT void coppice_type_pop(void) { type_pop(), reclassify(); }

EXPORT void *coppice_alloc(size_t size, enum coppice_type type) {
    type_push(type_checked(type, "coppice_alloc")), reclassify();
    heap_thread.caller = __builtin_return_address(0);
    (void)heap_take(size); /* it counts as any; its answer does not matter */
    void *p = hook_slowly(size, 0, API_MALLOC);
    type_pop(), reclassify();
    return p;
}
