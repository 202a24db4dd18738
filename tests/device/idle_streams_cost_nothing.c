/* Streams without work need no event, and a batch of frees needs one epoch at most, however many streams there are: with an
 * event for a whole context one record, without it one for each stream that had work. */
#include "cuda_test.h"
int main(void) {
    start();
    need_simulator();
    enum { STREAMS = 64, BLOCKS = 64, ROUNDS = 20 };
    CUstream stream[STREAMS];
    CUdeviceptr p[BLOCKS];
    for (int i = 0; i < STREAMS; i++) OK(p_cuStreamCreate(&stream[i], CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < STREAMS; i++) fill(p[0] = take(512), 1, 512, stream[i]), give(p[0]);
    OK(p_cuCtxSynchronize());
    long whole = driver_calls("cuCtxRecordEvent"), each = driver_calls("cuEventRecord");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) p[i] = take(4096);
        for (int i = 0; i < BLOCKS; i++) fill(p[i], 1, 4096, stream[i % 2]);
        for (int i = 0; i < BLOCKS; i++) give(p[i]);
        OK(p_cuStreamSynchronize(stream[0]));
        OK(p_cuStreamSynchronize(stream[1]));
    }
    whole = driver_calls("cuCtxRecordEvent") - whole, each = driver_calls("cuEventRecord") - each;
    /* a close after every 64 frees, and at most one more for the allocation that finds its memory behind a fence */
    CHECK(whole <= 2 * ROUNDS && each <= 2 * ROUNDS * 2, "%ld and %ld records in %d rounds", whole, each, ROUNDS);
    CHECK(whole + each > 0, "no fence at all");
    return 0;
}
