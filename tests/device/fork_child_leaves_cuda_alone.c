/* A fork's child may not use the parent's CUDA state: its calls reach the driver and fail as they would without us, and
 * nothing that it does changes the parent's cache. */
#include "cuda_test.h"
int main(void) {
    start();
    CUdeviceptr a = take(1 << 20), b = take(1 << 20), p;
    give(b);
    pid_t child = fork();
    if (child == 0) {
        if (p_cuMemAlloc_v2(&p, 1 << 20) == CUDA_SUCCESS) _exit(2);
        if (p_cuMemFree_v2(a) == CUDA_SUCCESS) _exit(3);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child ended with %d", status);
    CHECK(take(1 << 20) == b);
    give(a);
    return 0;
}
