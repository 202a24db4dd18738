/* Page-locked memory is handed out again only after the work that was submitted before its free: a copy from it still reads
 * what was there, a copy into it does not arrive in somebody else's data. */
#include "cuda_test.h"
enum { SIZE = 200000 };
int main(void) {
    start();
    CUstream stream;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr d = take(SIZE);
    unsigned char *from, *into, *next[2];
    for (int round = 0; round < 3; round++) {
        struct gate gate = { false };
        OK(p_cuMemHostAlloc((void **)&from, SIZE, 0));
        OK(p_cuMemHostAlloc((void **)&into, SIZE, 0));
        memset(from, 0x11, SIZE);
        block_stream(stream, &gate);
        OK(p_cuMemcpyHtoDAsync_v2(d, from, SIZE, stream));
        OK(p_cuMemcpyDtoHAsync_v2(into, d, SIZE, stream));
        OK(p_cuMemFreeHost(from));
        OK(p_cuMemFreeHost(into));
        for (int i = 0; i < 2; i++) {
            OK(p_cuMemHostAlloc((void **)&next[i], SIZE, 0));
            CHECK(next[i] != from && next[i] != into, "handed out while a copy waits");
            memset(next[i], 0x22, SIZE);
        }
        atomic_store(&gate.open, true);
        OK(p_cuStreamSynchronize(stream));
        expect_bytes(d, 0x11, SIZE, stream, "the copy");
        for (int i = 0; i < 2; i++) {
            for (int j = 0; j < SIZE; j++) CHECK(next[i][j] == 0x22, "byte %d was overwritten", j);
            OK(p_cuMemFreeHost(next[i]));
        }
    }
    return 0;
}
