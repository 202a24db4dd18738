// backend: page
// env: COPPICE_DEVICE_BACKEND=page
/* A buffer that is freed and asked for again a little larger, and lies last: new pages are mapped behind what is free there, nothing
 * is moved, and the part of a page that a live block leaves serves too. */
#include "cuda_test.h"
#define MIB ((size_t)1 << 20)
enum { PAGE_MIB = 2, FIRST = 9, LAST = 99 };
int main(void) {
    start();
    need_simulator();
    take(MIB); /* lives in the first half of the first page */
    for (size_t size = FIRST; size <= LAST; size += PAGE_MIB) {
        give(take(size * MIB));
        CHECK(truth().live == (1 + size) * MIB, "the device has given %lu bytes for %zu", (unsigned long)truth().live, (1 + size) * MIB);
    }
    CHECK((double)truth().peak_live == stat_number("peak_reserved_bytes"));
    CHECK(driver_calls("cuMemUnmap") == 0, "%ld times pages were moved", driver_calls("cuMemUnmap"));
    CHECK(driver_calls("cuMemMap") == (1 + LAST) / PAGE_MIB, "%ld pages were mapped", driver_calls("cuMemMap"));
    return 0;
}
