// env: COPPICE_TYPE_LEARN=1
// env: COPPICE_TYPE_RULES=types_are_learned*:cuMemAlloc:>=8M=emotional
/* With learning on, sites of which no rule speaks get the type that their blocks' lives show; the statistics say from how many. What a
 * rule decides stays decided. */
#include "cuda_test.h"
#define NOINLINE __attribute__((noinline))
static NOINLINE CUdeviceptr workspace(size_t size) {
    CUdeviceptr p = 0;
    OK(p_cuMemAlloc_v2(&p, size));
    return p;
}
static NOINLINE CUdeviceptr decided(size_t size) {
    CUdeviceptr p = 0;
    OK(p_cuMemAlloc_v2(&p, size));
    return p;
}
static NOINLINE CUdeviceptr request(size_t size) {
    CUdeviceptr p = 0;
    OK(p_cuMemAlloc_v2(&p, size));
    return p;
}
int main(void) {
    start();
    for (int i = 0; i < 31; i++) give(workspace(3 << 20)), give(request(65536 + (size_t)i * 512));
    CHECK(!strstr(stat_json(), "\"learned\""), "a type was learned from 31 lives");
    for (int i = 0; i < 40; i++) give(workspace(3 << 20)), give(request(65536 + (size_t)i * 512)), give(decided(8 << 20));
    const char *json = stat_json();
    CHECK(strstr(json, "\"type\":\"procedural\",\"reason\":\"learned\",\"observations\":64"), "%s", json);
    CHECK(strstr(json, "\"type\":\"episodic\",\"reason\":\"learned\",\"observations\":64"), "%s", json);
    CHECK(strstr(json, "\"type\":\"emotional\",\"reason\":\"rule\""), "%s", json);
    CHECK(stat_number("live_bytes") == 0);
    return 0;
}
