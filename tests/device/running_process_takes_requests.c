// env: COPPICE_PRESSURE=1
// backend: block; the byte counts are those of whole blocks
// env: SIM_CAPACITY=2G
// env: COPPICE_POOL_MAX=1G
/* `coppice trim` and `coppice set` on a process that uses the device: what was cached goes back, what is live stays, an
 * option is in force once the answer is there, and a wrong value changes nothing. */
#include "cuda_test.h"
enum { MB = 1 << 20 };
static char said[1024];
static int coppice(const char *arguments) {
    char command[512];
    snprintf(command, sizeof command, "env -u LD_PRELOAD build/coppice %s 2>&1", arguments);
    FILE *f = popen(command, "r");
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    int status = pclose(f);
    return WEXITSTATUS(status);
}
static void ask(int status, const char *command, const char *rest, const char *expected) {
    char line[256];
    snprintf(line, sizeof line, "%s %d %s", command, (int)getpid(), rest);
    int got = coppice(line);
    CHECK(got == status && strstr(said, expected), "coppice %s: status %d: %s", line, got, said);
}
int main(void) {
    start();
    need_simulator();
    CUmemoryPool pool;
    CUdeviceptr live = take(50 * MB), p;
    give(take(200 * MB));
    cuuint64_t threshold = UINT64_MAX;
    OK(p_cuDeviceGetDefaultMemPool(&pool, 0));
    OK(p_cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
    OK(p_cuMemAllocAsync(&p, 64 * MB, NULL));
    OK(p_cuMemFreeAsync(p, NULL));
    OK(p_cuCtxSynchronize());
    ask(0, "trim", "", "200.0 MiB of device memory, 64.0 MiB of the driver's pools");
    CHECK(truth().reserved == 50u * MB && stat_number("cached_bytes") == 0 && stat_number("asked_bytes") == 200 * MB);
    ask(0, "set", "POOL_MAX=64M zero=1", "POOL_MAX is 64M now");
    CHECK(strstr(said, "ZERO is 1 now"), "%s", said);
    give(take(100 * MB));
    CHECK(stat_number("cached_bytes") == 0, "more than POOL_MAX is cached");
    p = take(1000), fill(p, 0x11, 1000, NULL), give(p), p = take(1000);
    expect_bytes(p, 0, 1000, NULL, "a block reused under ZERO=1");
    give(p);
    ask(0, "set", "--wait=10s POOL_MAX=0", "POOL_MAX is 0 now");
    CHECK(stat_number("cached_bytes") == 0);
    give(take(1000));
    CHECK(stat_number("cached_bytes") == 0, "cached though POOL_MAX=0");
    ask(0, "set", "POOL_MAX=1G", "POOL_MAX is 1G now");
    long before = driver_calls("cuMemAlloc_v2");
    give(take(5000)), give(take(5000)), give(take(5000));
    CHECK(driver_calls("cuMemAlloc_v2") - before == 1, "nothing is cached after POOL_MAX=1G");
    ask(2, "set", "POOL_MAX=banana", "coppice: set: POOL_MAX=banana is not accepted: expected a size");
    ask(2, "set", "STATE_DIR=/tmp", "STATE_DIR is settled when the program starts");
    ask(2, "set", "NONSENSE=1", "is not an option");
    ask(2, "set", "POOL_MAX", "coppice: set: POOL_MAX wants a value");
    give(live);
    CHECK(stat_number("live_bytes") == 0);
    return 0;
}
