// env: COPPICE_EMBODIED=0
// env: COPPICE_DTESN_LIMIT=200M
/* Where host memory is tight, cached page-locked memory that was not in use for some seconds goes back long before the minute
 * that it would be kept for otherwise; what is in use stays cached. Only our own heap's limit is looked at: nobody else's moods. */
#include "cuda_test.h"
#define pinned(field) (long)stat_number_after("\"pinned\"", field)
static void use(size_t size) {
    void *p;
    OK(p_cuMemAllocHost_v2(&p, size));
    OK(p_cuMemFreeHost(p));
}
static void use_for(int seconds, size_t size) {
    for (int i = 0; i < 2 * seconds; i++) use(size), usleep(500000);
}
int main(void) {
    start();
    need_simulator();
    use(60 << 20);
    use_for(11, 4 << 20);
    CHECK(pinned("cached_bytes") >= 60 << 20, "given back without need");
    char *heap = malloc(190 << 20);
    CHECK(heap);
    for (size_t i = 0; i < 190 << 20; i += 4096) heap[i] = 1;
    use_for(4, 4 << 20);
    CHECK(pinned("cached_bytes") < 60 << 20, "%ld bytes are still cached", pinned("cached_bytes"));
    CHECK(pinned("cached_bytes") >= 4 << 20, "what is in use went too");
    free(heap);
    return 0;
}
