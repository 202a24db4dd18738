/* dlsym by handle, cuGetProcAddress at several versions and through itself, and the exported symbol all lead to the same
 * pool; an unknown name and the empty one are answered as the driver does. */
#include "cuda_test.h"
int main(void) {
    start();
    CUdeviceptr a = take(8 << 20), b;
    give(a);
    const int versions[] = { 3020, 11030, 12000, 12080, 13000 };
    for (unsigned i = 0; i < 5; i++) {
        CUdriverProcAddressQueryResult status;
        CUresult (*alloc)(CUdeviceptr *, size_t) = NULL;
        CUresult (*release)(CUdeviceptr) = NULL;
        __typeof__(&cuGetProcAddress_v2) self = NULL;
        OK(p_cuGetProcAddress_v2("cuGetProcAddress", (void **)&self, 12000, 0, &status));
        OK(self("cuMemAlloc", (void **)&alloc, versions[i], 0, &status));
        OK(self("cuMemFree", (void **)&release, versions[i], 0, &status));
        OK(alloc(&b, 8 << 20));
        CHECK(b == a, "version %d is not routed", versions[i]);
        OK(release(b));
    }
    CUresult (*exported)(CUdeviceptr *, size_t) = dlsym(RTLD_DEFAULT, "cuMemAlloc_v2");
    OK(exported(&b, 8 << 20));
    CHECK(b == a);
    give(b);
    CUdriverProcAddressQueryResult status;
    void *none = (void *)1;
    p_cuGetProcAddress_v2("cuNoSuchFunction", &none, 12000, 0, &status);
    CHECK(none == NULL && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    p_cuGetProcAddress_v2("", &none, 12000, 0, &status);
    return 0;
}
