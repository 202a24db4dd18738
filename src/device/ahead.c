/* ahead.c: see ahead.h. */
#include "device/ahead.h"
#include "base/options.h"
#include "device/pool.h"

/* One driver allocation in the context, whatever another thread captures; 0: there is no room, or this is not the moment. */
static uint64_t take_from_driver(struct context *c, uint64_t size) {
    CUdeviceptr address = 0;
    if (!context_enter(c)) return 0;
    bool relaxed = capture_relax();
    if (driver.cuMemAlloc_v2(&address, size) != CUDA_SUCCESS) address = 0;
    capture_unrelax(relaxed);
    context_leave(c);
    return address;
}

void ahead_fill(struct context *c) {
    uint64_t reserve = option_number(emotional_reserve), size = atomic_load_explicit(&c->ahead_size, memory_order_relaxed);
    if (reserve == 0 || size == 0) return;
    while (pool_is_open(c) && pool_cached_of(c, COPPICE_EMOTIONAL) + size <= reserve && context_cached_on(c->ordinal) + size <= c->pool_max) {
        uint64_t address = take_from_driver(c, size);
        if (!address) return;
        if (!pool_adopt_cached(c, address, size, COPPICE_EMOTIONAL)) driver.cuMemFree_v2(address);
    }
}
