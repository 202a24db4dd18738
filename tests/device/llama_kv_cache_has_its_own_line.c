// backend: block; the byte counts are those of whole blocks
/* Key/value cache is recognised by the function on the stack, in a program of that name as in llama.cpp's libraries: it has a
 * line of its own, to the byte, through misses, hits and frees; other memory of the same line of code does not. */
#include "cuda_test.h"
#define NOINLINE __attribute__((noinline))
enum { CACHE = 3 << 20, OTHER = 5 << 20 };
static NOINLINE CUdeviceptr buffer(size_t size) {
    CUdeviceptr p = take(size);
    __asm__ volatile("" ::: "memory");
    return p;
}
NOINLINE CUdeviceptr llama_kv_cache_init(size_t size);
NOINLINE CUdeviceptr llama_kv_cache_init(size_t size) {
    CUdeviceptr p = buffer(size);
    __asm__ volatile("" ::: "memory");
    return p;
}
NOINLINE CUdeviceptr load_weights(size_t size);
NOINLINE CUdeviceptr load_weights(size_t size) {
    CUdeviceptr p = buffer(size);
    __asm__ volatile("" ::: "memory");
    return p;
}
int main(void) {
    start();
    CUdeviceptr weights = load_weights(OTHER), cache = llama_kv_cache_init(CACHE), small = llama_kv_cache_init(1000);
    CHECK(stat_number("kv_live_bytes") == CACHE && stat_number("live_bytes") == OTHER + CACHE + 1000, "kv %g", stat_number("kv_live_bytes"));
    CHECK(stat_number("kv_share") > 0.37 && stat_number("kv_share") < 0.38 && stat_number("kv_growth_bytes") == CACHE);
    give(cache);
    OK(p_cuCtxSynchronize());
    CHECK(stat_number("kv_live_bytes") == 0 && stat_number("kv_peak_live_bytes") == CACHE && stat_number("cached_bytes") == CACHE);
    double hits = stat_number("hits");
    CUdeviceptr again = llama_kv_cache_init(CACHE);
    CHECK(again == cache && stat_number("hits") == hits + 1 && stat_number("kv_live_bytes") == CACHE && stat_number("kv_allocs") == 2);
    CHECK(strstr(stat_json(), "\"type\":\"procedural\",\"kv\":true,\"reason\":\"built-in rule\",\"rule\":\"*llama*:device:"), "%s", stat_json());
    CHECK(stat_number_after("\"sites\"", "live_bytes") == CACHE && stat_number_after("\"sites\"", "allocs") == 2 && stat_number_after("\"sites\"", "frees") == 1);
    give(again), give(weights), give(small);
    OK(p_cuCtxSynchronize());
    CUdeviceptr reused = load_weights(CACHE); /* the block was cache; now it is not */
    CHECK(reused == cache && stat_number("kv_live_bytes") == 0);
    return 0;
}
