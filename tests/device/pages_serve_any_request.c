// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=2G
// env: COPPICE_POOL_MAX=2G
/* Pages of freed blocks serve requests of any other size without new memory from the driver; blocks never share a byte,
 * also where they share a page; the device's peak stays the program's; all of it goes back when something else needs it. */
#include "cuda_test.h"
enum { BLOCKS = 8, SMALL = 900 };
static size_t sizes[] = { 700 << 20, 3 << 20, (5 << 20) + 512, (1 << 20) + 7, (40 << 20) - 1, 2 << 20, (2 << 20) - 511, 700001 };
static size_t total(const size_t *size, int n) { return n ? size[0] + total(size + 1, n - 1) : 0; }
static CUdeviceptr block[BLOCKS], small[SMALL];
static size_t small_size(int i) { return 1 + (size_t)i * 37 % 5000; }

static void odd_sizes_reuse_pages(void) {
    for (int i = 0; i < BLOCKS; i++) block[i] = take(100 << 20);
    for (int i = 0; i < BLOCKS; i++) give(block[i]);
    long created = driver_calls("cuMemCreate");
    for (int i = 0; i < BLOCKS; i++) block[i] = take(sizes[i]);
    for (int i = 0; i < SMALL; i++) small[i] = take(small_size(i));
    CHECK(driver_calls("cuMemCreate") == created && driver_calls("cuMemAlloc_v2") == 0, "memory of other sizes was not used");
}

static void every_byte_is_its_own(void) {
    for (int i = 1; i < BLOCKS; i++) fill(block[i], (unsigned char)i, sizes[i], NULL);
    for (int i = 0; i < SMALL; i++) fill(small[i], (unsigned char)(i % 200 + 20), small_size(i), NULL);
    for (int i = 1; i < BLOCKS; i++) expect_bytes(block[i], (unsigned char)i, sizes[i], NULL, "a block");
    for (int i = 0; i < SMALL; i++) expect_bytes(small[i], (unsigned char)(i % 200 + 20), small_size(i), NULL, "a small block");
    for (int i = 0; i < BLOCKS; i++) CHECK((block[i] & 511) == 0);
}

static void addresses_are_known(void) {
    CUdeviceptr base;
    size_t size;
    OK(p_cuMemGetAddressRange_v2(&base, &size, block[0] + (300 << 20)));
    CHECK(base == block[0] && size == sizes[0]);
    OK(p_cuMemGetAddressRange_v2(&base, &size, small[5] + 3));
    CHECK(base == small[5] && size == small_size(5));
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(block[0] + 512));
    give(small[5]);
    EXPECT(CUDA_ERROR_INVALID_VALUE, p_cuMemFree_v2(small[5]));
    EXPECT(CUDA_ERROR_NOT_FOUND, p_cuMemGetAddressRange_v2(&base, &size, small[5]));
    small[5] = take(small_size(5));
}

int main(void) {
    start();
    need_simulator();
    odd_sizes_reuse_pages();
    every_byte_is_its_own();
    addresses_are_known();
    CHECK(truth().live == (uint64_t)stat_number("reserved_bytes") && truth().peak_live == (uint64_t)stat_number("peak_reserved_bytes"));
    size_t live = total(sizes, BLOCKS);
    for (int i = 0; i < SMALL; i++) live += small_size(i);
    CHECK((size_t)stat_number("live_bytes") == live);
    for (int i = 0; i < SMALL; i++) give(small[i]);
    for (int i = 0; i < BLOCKS; i++) give(block[i]);
    CUdeviceptr managed;
    OK(p_cuMemAllocManaged(&managed, (size_t)2000 << 20, CU_MEM_ATTACH_GLOBAL));
    CHECK(truth().live == (size_t)2000 << 20, "%lu bytes were held back", (unsigned long)truth().live - ((size_t)2000 << 20));
    CHECK(p_simctl_wrong_calls(NULL, getpid(), NULL) <= 3, "calls that the driver refused");
    return 0;
}
