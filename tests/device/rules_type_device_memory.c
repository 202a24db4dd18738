// env: COPPICE_TYPE_RULES=rules_type*:cuMemAlloc:>=1M=semantic;nonsense;rules_type*:device:<1M=episodic
/* The user's rules type what a library asks for, by size; a rule that cannot be read leaves the others. What the thread has
 * pushed wins. */
#include "cuda_test.h"
#include "../../include/coppice/coppice.h"
int main(void) {
    start();
    __typeof__(&coppice_type_push) push = (__typeof__(push))dlsym(RTLD_DEFAULT, "coppice_type_push");
    __typeof__(&coppice_type_pop) pop = (__typeof__(pop))dlsym(RTLD_DEFAULT, "coppice_type_pop");
    CUdeviceptr large = take(2 << 20), small = take(4096);
    push(COPPICE_EMOTIONAL);
    CUdeviceptr urgent = take(3 << 20);
    pop();
    CHECK(stat_number_after("\"type\":\"semantic\",\"reason\":\"rule\",\"rule\":\"rules_type*:cuMemAlloc:>=1M=semantic\"", "live_bytes") == 2 << 20);
    CHECK(stat_number_after("\"type\":\"episodic\",\"reason\":\"rule\",\"rule\":\"rules_type*:device:<1M=episodic\"", "live_bytes") == 4096);
    CHECK(stat_number_after("\"type\":\"emotional\",\"reason\":\"api\"", "live_bytes") == 3 << 20);
    CHECK(strstr(stat_json(), "\"name\":\"rules_type_device_memory+0x"));
    give(large), give(small), give(urgent);
    CHECK(stat_number_after("\"type\":\"semantic\"", "live_bytes") == 0 && stat_number_after("\"type\":\"semantic\"", "peak_live_bytes") == 2 << 20);
    return 0;
}
