// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: SIM_CAPACITY=16G
// env: COPPICE_POOL_MAX=16G
/* A small decoder generates, its key-value caches grown by copying, every one again and again a little larger: no place comes back
 * that fits. Blocks lie so that they leave whole pages, which are moved, and at the peak at most a fiftieth more than what is live
 * is reserved, although it is a third of a gigabyte only. */
#include "cuda_test.h"
enum { LAYERS = 8, CACHES = 2 * LAYERS, TOKEN = 16 << 10 /* bytes of one layer's keys, or values, for one token */, STEPS = 100 };
enum { WORDS = 16384, BATCH = 8, HIDDEN = 512 };

static void weights(void) {
    take(WORDS * HIDDEN * 4), take(WORDS * HIDDEN * 4);
    for (int i = 0; i < LAYERS; i++) {
        take(3 * HIDDEN * HIDDEN * 4), take(HIDDEN * HIDDEN * 4), take(4 * HIDDEN * HIDDEN * 4), take(4 * HIDDEN * HIDDEN * 4);
        for (int small = 0; small < 6; small++) take(HIDDEN * 4 * (1 + small % 4));
    }
}

/* One pass over `tokens` a sequence, in which the caches come to hold `held`. */
static void pass(CUdeviceptr cache[CACHES], size_t tokens, size_t held) {
    size_t width = BATCH * tokens * HIDDEN * 4;
    CUdeviceptr x = take(width);
    for (int i = 0; i < CACHES; i += 2) {
        CUdeviceptr qkv = take(3 * width);
        for (int kv = 0; kv < 2; kv++) {
            CUdeviceptr grown = take(held * TOKEN);
            if (cache[i + kv]) give(cache[i + kv]);
            cache[i + kv] = grown;
        }
        CUdeviceptr scores = take(BATCH * 8 * tokens * held * 4), out = take(width);
        give(qkv), give(scores);
        CUdeviceptr up = take(4 * width), next = take(width);
        give(up), give(out), give(x);
        x = next;
    }
    CUdeviceptr logits = take(BATCH * tokens * WORDS * 4);
    give(x), give(logits);
}

static void generate(size_t prompt) {
    CUdeviceptr cache[CACHES] = { 0 };
    pass(cache, prompt, prompt);
    for (size_t held = prompt + 1; held <= prompt + STEPS; held++) pass(cache, 1, held);
    for (int i = 0; i < CACHES; i++) give(cache[i]);
}

int main(void) {
    start();
    need_simulator();
    weights();
    generate(100), generate(40), generate(250);
    double reserved = stat_number("peak_reserved_bytes"), live = stat_number("peak_live_bytes");
    CHECK((double)truth().peak_live == reserved);
    CHECK(reserved <= live * 1.02, "reserved is %.4f of what was live", reserved / live);
    printf("reserved/live %.4f of %.0f MiB, %ld pages, %ld maps\n", reserved / live, live / (1 << 20), driver_calls("cuMemCreate"), driver_calls("cuMemMap"));
    return 0;
}
