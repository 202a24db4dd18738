/* The model of demand: what it expects equals what ridge regression over all targets so far expects, solved in one piece. */
#include "dtesn/predictor.h"
#include "suite.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = PREDICTOR_INPUTS, FIRST = PREDICTOR_GUARD + PREDICTOR_HORIZON + PREDICTOR_ENOUGH - 1 };
static const uint32_t none[PREDICTOR_CLASSES];

static bool feed(struct predictor *p, uint64_t demand, uint64_t *forecast) {
    uint64_t lag[PREDICTOR_LAGS];
    for (int i = 0; i < PREDICTOR_LAGS; i++) lag[i] = demand;
    return predictor_step(p, lag, none, demand, forecast);
}

START_TEST(nothing_is_said_before_enough_was_learned) {
    struct predictor p = { 0 };
    uint64_t forecast = 77;
    for (int step = 0; step < FIRST; step++) ck_assert(!feed(&p, 1000, &forecast));
    ck_assert_uint_eq(forecast, 77);
    ck_assert(feed(&p, 1000, &forecast));
}
END_TEST

START_TEST(steady_demand_is_expected_to_stay) {
    for (uint64_t demand = 1000; demand < 1ull << 45; demand *= 1000) {
        struct predictor p = { 0 };
        uint64_t forecast = 0;
        for (int step = 0; step < 200; step++) feed(&p, demand, &forecast);
        ck_assert_uint_ge(forecast, demand - demand / 100);
        ck_assert_uint_le(forecast, demand + demand / 100);
    }
}
END_TEST

START_TEST(years_without_change_do_no_harm) {
    struct predictor p = { 0 };
    uint64_t forecast = 0;
    for (int step = 0; step < 1500000; step++) feed(&p, 1000000, &forecast);
    ck_assert_uint_ge(forecast, 999000);
    ck_assert_uint_le(forecast, 1001000);
    for (int step = 0; step < 100; step++) ck_assert(feed(&p, 2000000, &forecast));
    ck_assert_uint_ge(forecast, 1900000);
    ck_assert_uint_le(forecast, 2100000);
}
END_TEST

START_TEST(no_demand_at_all_is_expected_to_stay) {
    struct predictor p = { 0 };
    uint64_t forecast = 5;
    for (int step = 0; step < 200; step++) feed(&p, 0, &forecast);
    ck_assert_uint_le(forecast, 1);
}
END_TEST

/* --- against the normal equations */

struct sample { double x[N], y; };

static void solve(double a[N][N + 1], double *w) {
    for (int i = 0; i < N; i++) {
        int best = i;
        for (int r = i + 1; r < N; r++) if (fabs(a[r][i]) > fabs(a[best][i])) best = r;
        for (int c = 0; c <= N; c++) { double t = a[i][c]; a[i][c] = a[best][c]; a[best][c] = t; }
        for (int r = 0; r < N; r++) {
            double f = r == i ? 0 : a[r][i] / a[i][i];
            for (int c = i; c <= N; c++) a[r][c] -= f * a[i][c];
        }
    }
    for (int i = 0; i < N; i++) w[i] = a[i][N] / a[i][i];
}

static double expected(const struct sample *s, int learned, const double *x) {
    double a[N][N + 1] = { 0 }, w[N], sum = 0;
    for (int i = 0; i < N; i++) a[i][i] = 0.01 * pow(0.9995, learned);
    for (int k = 0; k < learned; k++) {
        double weight = pow(0.9995, learned - 1 - k);
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) a[i][j] += weight * s[k].x[i] * s[k].x[j];
            a[i][N] += weight * s[k].x[i] * s[k].y;
        }
    }
    solve(a, w);
    for (int i = 0; i < N; i++) sum += w[i] * x[i];
    return sum;
}

START_TEST(it_is_least_squares) {
    enum { STEPS = 300 };
    static struct sample sample[STEPS];
    struct predictor p = { 0 };
    double unit = 0;
    int learned = 0;
    srand(8);
    for (int step = 0; step < STEPS; step++) {
        uint64_t lag[PREDICTOR_LAGS], target = (uint64_t)(rand() % 1000000) + 1000000, forecast;
        uint32_t count[PREDICTOR_CLASSES];
        for (int i = 0; i < PREDICTOR_LAGS; i++) lag[i] = (uint64_t)(rand() % 1000000) + 500000;
        for (int i = 0; i < PREDICTOR_CLASSES; i++) count[i] = (uint32_t)(rand() % 20);
        if (step < PREDICTOR_GUARD && (double)lag[0] > unit) unit = (double)lag[0];
        struct sample *now = &sample[step];
        now->x[0] = 1;
        for (int i = 0; i < PREDICTOR_LAGS; i++) now->x[1 + i] = (double)lag[i] / unit;
        for (int i = 0; i < PREDICTOR_CLASSES; i++) now->x[1 + PREDICTOR_LAGS + i] = count[i] / 10.0;
        if (step >= PREDICTOR_GUARD + PREDICTOR_HORIZON) sample[step - PREDICTOR_HORIZON].y = (double)target / unit, learned++;
        if (!predictor_step(&p, lag, count, target, &forecast)) continue;
        double say = expected(&sample[PREDICTOR_GUARD], learned, now->x) * unit;
        ck_assert_double_eq_tol((double)forecast, say > 0 ? say : 0, 2 + fabs(say) * 1e-6);
    }
    ck_assert_int_eq(learned, STEPS - PREDICTOR_GUARD - PREDICTOR_HORIZON);
}
END_TEST

START_TEST(classes_are_powers_of_four) {
    ck_assert_uint_eq(predictor_class(0), 0);
    ck_assert_uint_eq(predictor_class((1u << 20) - 1), 0);
    ck_assert_uint_eq(predictor_class(1u << 20), 1);
    ck_assert_uint_eq(predictor_class(63u << 20), 3);
    ck_assert_uint_eq(predictor_class(64u << 20), 4);
    ck_assert_uint_eq(predictor_class((1ull << 32) - 1), 6);
    ck_assert_uint_eq(predictor_class(1ull << 32), 7);
    ck_assert_uint_eq(predictor_class(UINT64_MAX), 7);
}
END_TEST

SUITE("predictor", NULL, NULL,
      nothing_is_said_before_enough_was_learned, steady_demand_is_expected_to_stay, years_without_change_do_no_harm,
      no_demand_at_all_is_expected_to_stay, it_is_least_squares, classes_are_powers_of_four)
