/* predictor.c: recursive least squares; see predictor.h. */
#include "dtesn/predictor.h"

enum { N = PREDICTOR_INPUTS };
static const double ridge = 0.01, forgetting = 0.9995; /* .9999 a second, to the fifth */
static const double count_unit = 0.1;                  /* ten blocks weigh as much as the unit of demand */
/* Where inputs do not change, forgetting lets the covariance grow without end: beyond this it stops. */
static const double covariance_most = 1e6;

unsigned predictor_class(uint64_t size) {
    unsigned class = 0;
    for (uint64_t bound = (uint64_t)1 << 20; class < PREDICTOR_CLASSES - 1 && size >= bound; bound <<= 2) class++;
    return class;
}

static double product(const double *a, const double *b) {
    double sum = 0;
    for (int i = 0; i < N; i++) sum += a[i] * b[i];
    return sum;
}

static void begin(struct predictor *p) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) p->covariance[i][j] = i == j ? 1 / ridge : 0;
}

/* gain = C x / (f + x' C x);  weight += gain * error;  C = (C - gain (C x)') / f */
static void learn(struct predictor *p, const double *x, double target) {
    double cx[N], largest = 0;
    for (int i = 0; i < N; i++) {
        cx[i] = product(p->covariance[i], x);
        if (p->covariance[i][i] > largest) largest = p->covariance[i][i];
    }
    const double f = largest < covariance_most ? forgetting : 1;
    const double scale = 1 / (f + product(x, cx)), error = target - product(p->weight, x);
    for (int i = 0; i < N; i++) {
        p->weight[i] += scale * cx[i] * error;
        for (int j = 0; j < N; j++) p->covariance[i][j] = (p->covariance[i][j] - scale * cx[i] * cx[j]) / f;
    }
    p->learned++;
}

static void fill_input(const struct predictor *p, double *x, const uint64_t *lag, const uint32_t *count) {
    x[0] = 1;
    for (int i = 0; i < PREDICTOR_LAGS; i++) x[1 + i] = (double)lag[i] / p->unit;
    for (int i = 0; i < PREDICTOR_CLASSES; i++) x[1 + PREDICTOR_LAGS + i] = count[i] * count_unit;
}

bool predictor_step(struct predictor *p, const uint64_t lag[PREDICTOR_LAGS], const uint32_t count[PREDICTOR_CLASSES],
                    uint64_t target, uint64_t *forecast) {
    uint64_t step = p->steps++;
    if (step < PREDICTOR_GUARD) {
        if ((double)lag[0] > p->unit) p->unit = (double)lag[0];
        return false;
    }
    if (step == PREDICTOR_GUARD) begin(p);
    if (p->unit < 1) p->unit = (double)((uint64_t)1 << 30); /* nothing was asked for yet */
    double *x = p->input[step % PREDICTOR_HORIZON]; /* holds the input of twelve steps ago */
    if (step >= PREDICTOR_GUARD + PREDICTOR_HORIZON) learn(p, x, (double)target / p->unit);
    fill_input(p, x, lag, count);
    if (p->learned < PREDICTOR_ENOUGH) return false;
    double bytes = product(p->weight, x) * p->unit;
    if (!(bytes < 0x1p62)) return false; /* not a number, or absurd */
    *forecast = bytes > 0 ? (uint64_t)bytes : 0;
    return true;
}
