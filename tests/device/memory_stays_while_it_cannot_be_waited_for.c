// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_POOL_MAX=16M
/* Freed memory whose work can be neither seen to have ended nor waited for (the driver refuses to, as it does from the moment in
 * which some thread begins to capture) serves nobody: neither what is more than may be cached, nor what was shown to others and
 * goes by itself. Once it can be waited for it goes as ever. */
#include "cuda_test.h"
enum { BLOCKS = 3, SIZE = 10 << 20 };
static CUstream slow, fast;
static struct gate gate;

/* So that a library which waits where it may not shows itself, instead of waiting for ever. */
static void *open_late(void *none) {
    sleep(2);
    atomic_store(&gate.open, true);
    return none;
}

static void nothing_is_unmapped(void) { CHECK(driver_calls("cuMemUnmap") == 0, "unmapped while it is worked on"); }
/* From now on work on it stands still, and nobody can wait. */
static void keep_busy(CUdeviceptr p, size_t size) {
    fill(p, 0xaa, size, slow);
    CHECK(p_simctl_fault("cuCtxSynchronize", 0, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
}
static void wait_again(void) {
    nothing_is_unmapped();
    p_simctl_clear_faults();
    atomic_store(&gate.open, true);
    OK(p_cuStreamSynchronize(slow));
    atomic_store(&gate.open, false);
}

static void more_than_may_be_cached(void) {
    CUdeviceptr busy[BLOCKS], p[BLOCKS];
    block_stream(slow, &gate);
    for (int i = 0; i < BLOCKS; i++) busy[i] = take(SIZE), keep_busy(busy[i], SIZE);
    for (int i = 0; i < BLOCKS; i++) give(busy[i]);
    nothing_is_unmapped();
    for (int i = 0; i < BLOCKS; i++) p[i] = take(SIZE), fill(p[i], 0xbb, SIZE, fast);
    OK(p_cuStreamSynchronize(fast));
    wait_again();
    for (int i = 0; i < BLOCKS; i++) expect_bytes(p[i], 0xbb, SIZE, fast, "a block taken meanwhile");
    for (int i = 0; i < BLOCKS; i++) give(p[i]);
    CHECK(stat_number("cached_bytes") <= 16 << 20, "the limit does not hold any more");
}

static void shown_to_others(void) {
    unsigned long long id;
    CUdeviceptr busy = take(SIZE);
    OK(p_cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, busy));
    block_stream(slow, &gate);
    keep_busy(busy, SIZE);
    give(busy);
    wait_again();
    CHECK(stat_number("live_bytes") == 0);
}

int main(void) {
    pthread_t opener;
    start();
    need_simulator();
    OK(p_cuStreamCreate(&slow, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamCreate(&fast, CU_STREAM_NON_BLOCKING));
    pthread_create(&opener, NULL, open_late, NULL);
    shown_to_others();
    more_than_may_be_cached();
    return 0;
}
