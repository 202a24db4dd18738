/* The runtime's functions: hits and frees without reaching the driver, sizes of zero, errors and the runtime's last error
 * as without us; a thread that never called CUDA; a device reset; several threads. */
#include "cuda_test.h"
static int (*p_cudaMalloc)(void **, size_t), (*p_cudaFree)(void *), (*p_cudaGetLastError)(void), (*p_cudaDeviceReset)(void);
static int (*p_cudaDeviceSynchronize)(void), (*p_cudaSetDevice)(int), (*p_cudaMemGetInfo)(size_t *, size_t *);
static void *thread_without_context(void *expected) {
    void *p = NULL;
    EXPECT(0, p_cudaMalloc(&p, 6 << 20));
    CHECK(p == expected, "a new thread did not find the cache");
    EXPECT(0, p_cudaFree(p));
    return NULL;
}
static void *churn(void *unused) {
    for (int i = 0; i < 2000; i++) {
        void *p[4];
        for (int j = 0; j < 4; j++) EXPECT(0, p_cudaMalloc(&p[j], (size_t)(j + 1) * 70000));
        for (int j = 0; j < 4; j++)
            for (int k = 0; k < j; k++) CHECK(p[j] != p[k]);
        for (int j = 0; j < 4; j++) EXPECT(0, p_cudaFree(p[j]));
    }
    return unused;
}
int main(void) {
    void *handle = dlopen("libcudart.so.13", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) handle = dlopen("libcudart.so.12", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) SKIP("no CUDA runtime: %s", dlerror());
#define BIND(name) *(void **)&p_##name = dlsym(RTLD_DEFAULT, #name);
    BIND(cudaMalloc) BIND(cudaFree) BIND(cudaGetLastError) BIND(cudaDeviceReset) BIND(cudaDeviceSynchronize) BIND(cudaSetDevice) BIND(cudaMemGetInfo)
    EXPECT(0, p_cudaFree(NULL)); /* makes the context */
    start();
    need_simulator();
    void *a, *b = (void *)1;
    EXPECT(0, p_cudaMalloc(&a, 6 << 20));
    EXPECT(0, p_cudaFree(a));
    long calls = driver_calls(NULL);
    for (int i = 0; i < 50; i++) {
        EXPECT(0, p_cudaMalloc(&b, 6 << 20));
        CHECK(b == a);
        EXPECT(0, p_cudaFree(b));
    }
    CHECK(driver_calls(NULL) == calls, "%ld driver calls in 50 hits", driver_calls(NULL) - calls);
    EXPECT(0, p_cudaMalloc(&b, 0));
    CHECK(b == NULL);
    EXPECT(1, p_cudaFree(a)); /* invalid value: freed already */
    EXPECT(1, p_cudaGetLastError());
    EXPECT(0, p_cudaGetLastError());
    EXPECT(1, p_cudaMalloc(NULL, 16));
    p_cudaGetLastError();
    EXPECT(2, p_cudaMalloc(&b, (size_t)1 << 50)); /* out of memory */
    EXPECT(2, p_cudaGetLastError());
    void *by_handle = dlsym(handle, "cudaMalloc");
    CHECK(by_handle == (void *)p_cudaMalloc, "a lookup by handle misses the fast path");
    pthread_t thread[4];
    pthread_create(&thread[0], NULL, thread_without_context, a);
    pthread_join(thread[0], NULL);
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, churn, NULL);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    CHECK(stat_number("live_bytes") == 0 && stat_number("hit_rate") > 0.99);
    EXPECT(0, p_cudaDeviceReset());
    EXPECT(0, p_cudaMalloc(&b, 6 << 20));
    CHECK(truth().live == 6 << 20, "%lu bytes after a reset and one allocation", (unsigned long)truth().live);
    EXPECT(0, p_cudaFree(b));
    return 0;
}
