// backend: block; the byte counts are those of whole blocks
// env: COPPICE_PRESSURE=1
// env: SIM_CAPACITY=1G
// env: SIM_DEVICES=2
// env: COPPICE_POOL_MAX=1G
// env: COPPICE_TENANT_WAIT=4s
/* Processes on one device: one that is out of memory gets what the others have cached, by asking them. One that is stopped
 * costs the wait once, keeps what it has, and does not act on the request when it goes on; one that is dead is not asked;
 * nobody is asked while the own cache is enough, or on behalf of another device. */
#include "other_process.h"
enum { MB = 1 << 20 };

/* The other process: takes and frees so many MiB, says so, and does that again for each number that it is told. */
static int be_another(void) {
    int mb;
    CUcontext second;
    start();
    if (getenv("SECOND_DEVICE")) {
        OK(p_cuDevicePrimaryCtxRetain(&second, 1));
        OK(p_cuCtxSetCurrent(second));
    }
    while (read(OTHER_HEARS, &mb, sizeof mb) == sizeof mb) {
        if (mb > 0) give(take((size_t)mb * MB));
        if (write(OTHER_TELLS, &mb, sizeof mb) != sizeof mb) return 1;
    }
    return 0;
}
static void told(struct other *o, int mb) {
    int said = 0;
    CHECK(write(o->tell, &mb, sizeof mb) == sizeof mb && read(o->hear, &said, sizeof said) == sizeof said && said == mb, "the other process is gone");
}
static struct other begin_with(char *self, int mb) {
    struct other o = begin(self);
    told(&o, mb);
    return o;
}
static uint64_t held_by(const struct other *o) {
    struct simctl_device d;
    CHECK(p_simctl_device(NULL, o->pid, 0, &d));
    return d.live / MB;
}

int main(int argc, char **argv) {
    if (argc > 1) return be_another();
    start();
    need_simulator();
    CUdeviceptr p;
    CUdeviceptr first = take(300 * MB);
    give(take(200 * MB)), give(first);
    struct other a = begin_with(argv[0], 480);
    p = take(48 * MB); /* demand is worth it; the device is full; the own cache is enough */
    struct other b = begin_with(argv[0], 300);
    CHECK(stat_number("tenant_requests") == 0 && held_by(&a) == 480 && held_by(&b) == 300 && stat_number("oom_recoveries") == 1, "others were asked though the own cache was enough");
    give(p);
    setenv("SECOND_DEVICE", "1", 1);
    struct other c = begin_with(argv[0], 300);
    unsetenv("SECOND_DEVICE");
    struct simctl_device d;
    p = take(900 * MB);
    CHECK(p_simctl_device(NULL, c.pid, 1, &d) && d.live == 300ul * MB, "a cache on another device was asked for");
    CHECK(held_by(&a) == 0 && held_by(&b) == 0, "others hold %lu and %lu", (unsigned long)held_by(&a), (unsigned long)held_by(&b));
    /* a process that has been idle for a while gives back by itself what it then need not be asked for */
    double requests = stat_number("tenant_requests"), given = stat_number("tenant_bytes");
    CHECK(requests >= 1 && requests <= 2 && given > 0 && given <= 780.0 * MB, "%.0f requests brought %.0f bytes", requests, given);
    give(p);
    told(&a, 300); /* and now it is the other's turn: our cache goes */
    CHECK(stat_number("asked_bytes") > 0 && stat_number("asked_bytes") <= 900.0 * MB && stat_number("cached_bytes") == 0);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p, 2000ul * MB));
    CHECK(held_by(&a) == 300, "a request beyond the device was put to others");
    /* one is stopped */
    told(&a, 300), told(&b, 300);
    kill(a.pid, SIGSTOP);
    double asked = stat_number("tenant_requests");
    p = take(600 * MB);
    CHECK(held_by(&b) == 0 && held_by(&a) == 300 && stat_number("tenants_silent") == 1);
    CUdeviceptr more;
    for (int i = 0; i < 5; i++) EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&more, 300 * MB));
    CHECK(stat_number("tenants_silent") == 1 && stat_number("tenant_requests") == asked + 2, "a stopped process is asked again and again");
    kill(a.pid, SIGCONT);
    told(&a, 0);
    usleep(300000);
    CHECK(held_by(&a) == 300, "a request was acted on long after its deadline");
    give(p);
    /* one is dead: its file says that it has something cached */
    told(&b, 50);
    end(&b);
    asked = stat_number("tenant_requests");
    p = take(700 * MB), give(p);
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p, 800 * MB));
    CHECK(stat_number("tenant_requests") == asked, "a dead process was asked");
    end(&a), end(&c);
    return 0;
}
