/* cudaMallocHost, cudaHostAlloc and cudaFreeHost reach the pool below the runtime: the second request needs no driver call that
 * pins, and the runtime's last error is its own. */
#include "cuda_test.h"
static int (*p_cudaMallocHost)(void **, size_t), (*p_cudaHostAlloc)(void **, size_t, unsigned), (*p_cudaFreeHost)(void *), (*p_cudaGetLastError)(void);
static int (*p_cudaHostGetFlags)(unsigned *, void *);
int main(void) {
    void *handle = dlopen("libcudart.so.13", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) handle = dlopen("libcudart.so.12", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) SKIP("no CUDA runtime: %s", dlerror());
#define BIND(name) *(void **)&p_##name = dlsym(RTLD_DEFAULT, #name);
    BIND(cudaMallocHost) BIND(cudaHostAlloc) BIND(cudaFreeHost) BIND(cudaGetLastError) BIND(cudaHostGetFlags)
    start();
    need_simulator();
    void *a, *b;
    unsigned flags[2];
    EXPECT(0, p_cudaMallocHost(&a, 1 << 20));
    EXPECT(0, p_cudaFreeHost(a));
    EXPECT(0, p_cudaHostAlloc(&b, 1 << 20, 4));
    CHECK(b != a, "write-combined memory is the same as other");
    EXPECT(0, p_cudaHostGetFlags(&flags[0], b));
    EXPECT(0, p_cudaFreeHost(b));
    long pinned = driver_calls("cuMemHostAlloc") + driver_calls("cuMemAllocHost_v2");
    for (int i = 0; i < 10; i++) {
        void *again;
        EXPECT(0, p_cudaMallocHost(&again, 1 << 20));
        CHECK(again == a);
        memset(again, i, 1 << 20);
        EXPECT(0, p_cudaFreeHost(again));
        EXPECT(0, p_cudaHostAlloc(&again, 1 << 20, 4));
        CHECK(again == b);
        EXPECT(0, p_cudaHostGetFlags(&flags[1], again));
        CHECK(flags[0] == flags[1], "flags went from %u to %u", flags[0], flags[1]);
        EXPECT(0, p_cudaFreeHost(again));
    }
    CHECK(driver_calls("cuMemHostAlloc") + driver_calls("cuMemAllocHost_v2") == pinned, "the driver pinned again");
    EXPECT(0, p_cudaGetLastError());
    EXPECT(1, p_cudaFreeHost(b)); /* a second time */
    EXPECT(1, p_cudaGetLastError());
    CHECK(stat_number_after("\"pinned\"", "hits") == 20);
    return 0;
}
