// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=256M
// env: SIM_DEVICES=2
/* A block that another process has open is freed, and the exporter takes and fills all the memory it can get: the importer still reads
 * what was there, until it closes; then the device has it back. The handle of a freed block opens nothing, also when another block
 * lies at its address. The same for a small block that shares its page with others, for a context that ends on either side, and
 * for an importer on another device. */
#include "ipc_test.h"

static void fill_everything(int value) {
    enum { MOST = 64 };
    CUdeviceptr p[MOST], small[MOST];
    int n = 0;
    for (int i = 0; i < MOST; i++) small[i] = take_filled(3000, value);
    while (n < MOST && p_cuMemAlloc_v2(&p[n], 7 << 20) == CUDA_SUCCESS) OK(p_cuMemsetD8_v2(p[n++], (unsigned char)value, 7 << 20));
    CHECK(n > 20);
    while (n > 0) give(p[--n]);
    for (int i = 0; i < MOST; i++) give(small[i]);
}

static void keeps_what_was_there(struct other *o, size_t size) {
    CUdeviceptr beside = take(size), p = take_filled(size, 0x11);
    CUipcMemHandle h = handle_of(p);
    CUdeviceptr q = TOLD(o, OPEN, h).at;
    give(p);
    fill_everything(0xbd);
    TOLD_OK(o, HOLDS, .at = q, .size = size, .value = 0x11);
    TOLD_OK(o, OPEN, h); /* it has it already */
    TOLD_OK(o, CLOSE, .at = q); TOLD_OK(o, CLOSE, .at = q);
    EXPECT(CUDA_ERROR_INVALID_HANDLE, TOLD(o, OPEN, h).result);
    give(beside);
    for (int i = 0; i < 20; i++) { /* new blocks, one of them perhaps at its address */
        CUdeviceptr next = take(size);
        CUipcMemHandle g = handle_of(next);
        CHECK(memcmp(&g, &h, sizeof g) != 0, "a handle came again");
        give(next);
    }
    EXPECT(CUDA_ERROR_INVALID_HANDLE, TOLD(o, OPEN, h).result);
    nothing_is_left_of_others();
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another(atoi(argv[1]));
    start();
    need_simulator();
    struct other o = begin(argv[0], "COPPICE_POOL_MAX=0");

    keeps_what_was_there(&o, 4 << 20);
    keeps_what_was_there(&o, (5 << 20) + 4096);
    keeps_what_was_there(&o, 3000);
    TOLD_OK(&o, DEVICE, .value = 1);
    keeps_what_was_there(&o, 3 << 20);
    TOLD_OK(&o, DEVICE, .value = 0);
    /* its context ends: it is mapped no more, and can be opened anew */
    CUdeviceptr p = take_filled(4 << 20, 0x22);
    CUipcMemHandle h = handle_of(p);
    CUdeviceptr q = TOLD(&o, OPEN, h).at;
    TOLD_OK(&o, RESET);
    TOLD_OK(&o, DEVICE, .value = 0);
    EXPECT(CUDA_ERROR_NOT_FOUND, TOLD(&o, RANGE, .at = q).result);
    EXPECT(CUDA_ERROR_INVALID_VALUE, TOLD(&o, CLOSE, .at = q).result);
    q = TOLD(&o, OPEN, h).at;
    TOLD_OK(&o, HOLDS, .at = q, .size = 4 << 20, .value = 0x22);
    /* ours ends */
    OK(p_cuDevicePrimaryCtxReset_v2(0));
    OK(p_cuDevicePrimaryCtxRetain(&test_context, 0)); OK(p_cuCtxSetCurrent(test_context));
    fill_everything(0xbd);
    TOLD_OK(&o, HOLDS, .at = q, .size = 4 << 20, .value = 0x22);
    TOLD_OK(&o, CLOSE, .at = q);
    EXPECT(CUDA_ERROR_INVALID_HANDLE, TOLD(&o, OPEN, h).result);
    nothing_is_left_of_others();
    end(&o);
    return 0;
}
