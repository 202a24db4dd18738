/* predictor.h: the most bytes that will be live in the next minute, learned while the program runs. Pure arithmetic.
 *
 * A *step* is five seconds of demand. At each step the *input* is a constant, the highest demand of each of the last
 * eight steps, and how many blocks are live in each of eight *size classes*; the *target*, known twelve steps later, is
 * the highest demand of those twelve. A linear model from input to target is fitted by recursive least squares
 * (forgetting .9999 a second, ridge .01). Nothing is learned from the first 24 steps: what a server does while it starts
 * says nothing about what it does later. The unit is the highest demand seen by then, so that the ridge means the same
 * to a small program and a large one. Cost: about 1 us a step (`predictor.step`, make bench). */
#ifndef COPPICE_DTESN_PREDICTOR_H
#define COPPICE_DTESN_PREDICTOR_H
#include <stdbool.h>
#include <stdint.h>

enum {
    PREDICTOR_LAGS = 8, PREDICTOR_CLASSES = 8,
    PREDICTOR_INPUTS = 1 + PREDICTOR_LAGS + PREDICTOR_CLASSES,
    PREDICTOR_HORIZON = 12, /* steps ahead */
    PREDICTOR_GUARD = 24,   /* steps of which nothing is learned */
    PREDICTOR_ENOUGH = 12   /* targets learned before a forecast is given */
};

/* Zeros are a new predictor. One thread at a time. */
struct predictor {
    uint64_t steps, learned;
    double unit; /* bytes; highest demand of the first steps, then fixed */
    double weight[PREDICTOR_INPUTS];
    double covariance[PREDICTOR_INPUTS][PREDICTOR_INPUTS]; /* symmetric: inverse of the weighted sum of squared inputs */
    double input[PREDICTOR_HORIZON][PREDICTOR_INPUTS];     /* of the steps whose target is not known yet, a ring */
};

/* Size classes by powers of four: below 1M, 4M, 16M, 64M, 256M, 1G, 4G, and above. */
unsigned predictor_class(uint64_t size);
/* A step has ended: `lag[0]` is its highest demand, lag[1] that of the step before it and so on; `count` the live blocks by
 * class; `target` the highest demand of the last twelve steps. True when there is a forecast, in bytes (never below 0). */
bool predictor_step(struct predictor *p, const uint64_t lag[PREDICTOR_LAGS], const uint32_t count[PREDICTOR_CLASSES],
                    uint64_t target, uint64_t *forecast);
#endif
