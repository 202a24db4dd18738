// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=16G
/* Small blocks and larger ones lie apart, so each kind has a last page that is not full. While there are few pages, a block of at most half
 * a page goes where the other kind lies before the driver is asked for one more. A free page is moved first. */
#include "cuda_test.h"
enum { KIB = 1 << 10, PAGE = 2 << 20, GIB = 1 << 30, SMALL = 256 * KIB, LARGE = 384 * KIB, MANY = 5 };

static long pages(void) { return driver_calls("cuMemCreate"); }
static bool same_page(CUdeviceptr a, CUdeviceptr b) { return a / PAGE == b / PAGE; }
#define PAGES(n) CHECK(pages() == (n), "%ld pages", pages())

int main(void) {
    start();
    need_simulator();
    CUdeviceptr large[MANY], small;
    for (int i = 0; i < MANY; i++) large[i] = take(LARGE);
    small = take(SMALL), take(SMALL), take(SMALL);
    PAGES(2);
    CHECK(!same_page(small, large[0]));

    CUdeviceptr half = take(512 * KIB);
    PAGES(2);
    CHECK(same_page(half, small));
    give(half);
    give(take(PAGE / 2 + 512)); /* it would fit there, too */
    PAGES(3);
    take(3 * PAGE / 4), half = take(PAGE / 2), take(SMALL);
    PAGES(3);
    CHECK(same_page(half, small));
    CUdeviceptr last = take(128 * KIB);
    PAGES(3);
    CHECK(same_page(last, large[0]));

    give(last);
    for (int i = 0; i < MANY; i++) give(large[i]);
    long maps = driver_calls("cuMemMap");
    last = take(64 * KIB);
    PAGES(3);
    CHECK(!same_page(last, large[0]) && driver_calls("cuMemMap") == maps + 1, "a free page was not moved");

    take(GIB), take(GIB), take(512 * KIB); /* the last one in a page that is there */
    PAGES(3 + 2 * (GIB / PAGE));
    CHECK(!same_page(take(LARGE), last));
    PAGES(3 + 2 * (GIB / PAGE) + 1);
    return 0;
}
