// env: COPPICE_POOL_MAX=8G
/* A program whose sizes never repeat: what is kept stays within a tenth of the most bytes that were live, however much the
 * limit would allow. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    enum { STEPS = 30 };
    size_t largest = 0;
    for (int i = 0; i < STEPS; i++) {
        size_t size = ((size_t)800 << 20) + (size_t)(i * 7 % STEPS) * (40u << 20);
        CUdeviceptr p = take(size);
        if (size > largest) largest = size;
        give(p);
        CHECK(truth().live <= largest + largest / 10, "%lu bytes reserved when at most %lu were live", (unsigned long)truth().live, (unsigned long)largest);
    }
    CHECK(truth().peak_live <= largest + largest / 10);
    return 0;
}
