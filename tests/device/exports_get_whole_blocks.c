// backend: page
// env: COPPICE_DEVICE_BACKEND=page
/* Where memory made of pages cannot be shown by a handle (PAGE_IPC=0, or no socket can be had) the answer is the documented error, the
 * statistics say so, and the next block of that size is a whole driver allocation, which can; weights too. What the driver says of
 * pages is corrected. */
#include "cuda_test.h"
#include <sys/stat.h>

static int gets_whole_blocks(void) {
    start();
    need_simulator();
    CUipcMemHandle handle;
    CUcontext context;
    CUdeviceptr p = take(4 << 20), other = take(100), base;
    size_t size;
    OK(p_cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, other));
    OK(p_cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 5000));
    OK(p_cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, other));
    CHECK(context == test_context && base == p && size == 100);
    EXPECT(CUDA_ERROR_NOT_SUPPORTED, p_cuIpcGetMemHandle(&handle, p + 4096));
    EXPECT(CUDA_ERROR_NOT_SUPPORTED, p_cuIpcGetMemHandle(&handle, other));
    CHECK(stat_number("exports_refused") == 2 && stat_number("exports_served") == 0);
    CUdeviceptr whole = take(4 << 20), small = take(100);
    OK(p_cuIpcGetMemHandle(&handle, whole));
    OK(p_cuIpcGetMemHandle(&handle, small));
    CHECK(driver_calls("cuMemAlloc_v2") == 2);
    give(p), give(other), give(whole), give(small);
    CHECK(stat_number("live_bytes") == 0 && (double)truth().live == stat_number("reserved_bytes"));
    return 0;
}

static void run_with(char *self, const char *name, const char *value, const char *more) {
    pid_t pid = fork();
    if (pid == 0) {
        setenv(name, value, 1);
        if (more) setenv("COPPICE_TYPE_RULES", more, 1), setenv("COPPICE_SHARE_WEIGHTS", "1", 1);
        execl(self, self, "now", NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    if (WEXITSTATUS(status)) exit(WEXITSTATUS(status));
}

int main(int argc, char **argv) {
    if (argc > 1) return gets_whole_blocks();
    run_with(argv[0], "COPPICE_PAGE_IPC", "0", NULL);
    run_with(argv[0], "COPPICE_PAGE_IPC", "0", "*:device:>=4M=semantic");
    char deep[200]; /* a socket's path may not be that long */
    snprintf(deep, sizeof deep, "%s/%090d", getenv("COPPICE_STATE_DIR"), 0);
    CHECK(mkdir(deep, 0700) == 0);
    run_with(argv[0], "COPPICE_STATE_DIR", deep, NULL);
    return 0;
}
