/* tags.c: see tags.h. */
#include "intern/tags.h"
#include "coppice/coppice.h"

_Atomic uint32_t tags_known[ENTRY_TAGS] = { 0, COPPICE_PARAMS_TAG };
static unsigned given = 2;

unsigned tag_number_given(uint32_t tag) {
    unsigned number = tag_number(tag);
    if (number < ENTRY_TAGS || given == ENTRY_TAGS) return number;
    atomic_store_explicit(&tags_known[given], tag, memory_order_relaxed);
    return given++;
}
