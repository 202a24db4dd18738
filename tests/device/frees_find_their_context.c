/* A free comes while another context is current, and on a thread that has none: the block goes to its own context's
 * cache, and is never handed out in another. */
#include "cuda_test.h"
static void *free_elsewhere(void *p) {
    give((CUdeviceptr)p);
    return NULL;
}
int main(void) {
    start();
    CUcontext other;
    CUdevice device;
    OK(p_cuDeviceGet(&device, 0));
    CUdeviceptr a = take(1 << 20), b = take(1 << 20);
    OK(p_cuCtxCreate_v2(&other, 0, device));
    give(a);
    CUdeviceptr c = take(1 << 20);
    CHECK(c != a, "a block of one context was handed out in another");
    pthread_t thread;
    pthread_create(&thread, NULL, free_elsewhere, (void *)b);
    pthread_join(thread, NULL);
    OK(p_cuCtxSetCurrent(test_context));
    CUdeviceptr d = take(1 << 20), e = take(1 << 20);
    CHECK((d == a && e == b) || (d == b && e == a), "blocks freed elsewhere did not come home");
    give(c), give(d), give(e);
    return 0;
}
