/* Demand is the sliding maximum of live bytes over the last minute, against a model that keeps every value. */
#include "dtesn/demand.h"
#include "base/options.h"
#include "suite.h"
#include <stdlib.h>

#define SECOND 1000000000ull
#define FLOOR (32ull << 20)
static uint64_t with_room(uint64_t bytes) { return bytes / 10 > FLOOR ? bytes + bytes / 10 : bytes + FLOOR; }

START_TEST(a_burst_is_kept_for_a_minute_and_then_forgotten) {
    struct demand d = { 0 };
    demand_tick(&d, 0, 100 * SECOND);
    demand_rises(&d, 1000);
    ck_assert_uint_eq(demand_keep(&d, 10), with_room(1000));
    for (uint64_t t = 101; t < 155; t++) {
        demand_tick(&d, 10, t * SECOND);
        ck_assert_uint_eq(demand_keep(&d, 10), with_room(1000));
    }
    for (uint64_t t = 155; t < 175; t++) demand_tick(&d, 10, t * SECOND);
    ck_assert_uint_eq(demand_keep(&d, 10), with_room(10));
}
END_TEST

START_TEST(large_demand_gets_a_tenth_more) {
    struct demand d = { 0 };
    demand_rises(&d, 10ull << 30);
    ck_assert_uint_eq(demand_keep(&d, 0), 11ull << 30);
}
END_TEST

START_TEST(nobody_looking_for_long_forgets_too) {
    struct demand d = { 0 };
    demand_tick(&d, 0, 100 * SECOND);
    demand_rises(&d, 1000);
    demand_tick(&d, 10, 1000 * SECOND);
    ck_assert_uint_eq(demand_keep(&d, 10), with_room(10));
}
END_TEST

START_TEST(random_demand_is_between_the_minute_before_and_the_slots_that_touch_it) {
    enum { N = 3000 };
    static uint64_t value[N];
    struct demand d = { 0 };
    srand(5);
    for (uint64_t t = 0; t < N; t++) {
        uint64_t live = value[t] = (uint64_t)(rand() % 1000) + (rand() % 50 == 0 ? 5000 : 0);
        demand_tick(&d, live, (t + 1) * SECOND);
        demand_rises(&d, live);
        uint64_t least = 0, most = 0;
        for (uint64_t back = 0; back <= t && back < 70; back++) {
            if (back < 55 && value[t - back] > least) least = value[t - back];
            if (value[t - back] > most) most = value[t - back];
        }
        uint64_t keep = demand_keep(&d, live);
        ck_assert_uint_ge(keep, with_room(least));
        ck_assert_uint_le(keep, with_room(most));
        ck_assert_uint_ge(atomic_load(&d.keep), live);
    }
}
END_TEST

START_TEST(the_timer_forgets_a_burst_at_its_second_turn) {
    struct demand d = { 0 };
    option_values[OPTION_predictor].number = PREDICTOR_TIMER;
    demand_tick(&d, 0, 100 * SECOND);
    demand_rises(&d, 1000);
    for (uint64_t t = 101; t < 220; t++) {
        demand_tick(&d, 10, t * SECOND);
        ck_assert_uint_eq(demand_keep(&d, 10), with_room(1000));
    }
    demand_tick(&d, 10, 220 * SECOND);
    ck_assert_uint_eq(demand_keep(&d, 10), with_room(10));
}
END_TEST

START_TEST(a_model_that_has_learned_decides_and_until_then_the_window) {
    struct demand d = { 0 };
    option_values[OPTION_predictor].number = PREDICTOR_AR;
    demand_tick(&d, 0, 100 * SECOND);
    demand_rises(&d, 1000);
    for (uint64_t t = 101; t < 155; t++) {
        demand_tick(&d, 10, t * SECOND);
        ck_assert_uint_eq(demand_keep(&d, 10), with_room(1000));
    }
    ck_assert_uint_eq(d.forecast, 0);
    for (uint64_t t = 155; t < 600; t++) demand_tick(&d, 1ull << 30, t * SECOND);
    ck_assert_uint_gt(d.forecast, 1);
    d.forecast = (5ull << 30) + 1;
    ck_assert_uint_eq(demand_keep(&d, 10), 5ull << 30);
    d.forecast = 1;
    ck_assert_uint_eq(demand_keep(&d, 7ull << 30), with_room(7ull << 30));
}
END_TEST

START_TEST(the_model_sees_the_latest_slot_first) {
    struct demand d = { 0 };
    option_values[OPTION_predictor].number = PREDICTOR_AR;
    for (uint64_t slot = 1; slot <= 40; slot++) {
        demand_tick(&d, 0, 5 * slot * SECOND);
        demand_rises(&d, slot << 20);
    }
    const double *x = d.model.input[(d.model.steps - 1) % PREDICTOR_HORIZON];
    for (unsigned i = 0; i < PREDICTOR_LAGS; i++) ck_assert_double_eq_tol(x[1 + i] * d.model.unit, (double)((39 - i) << 20), 1);
}
END_TEST

SUITE("demand", NULL, NULL,
      a_burst_is_kept_for_a_minute_and_then_forgotten, large_demand_gets_a_tenth_more, nobody_looking_for_long_forgets_too,
      random_demand_is_between_the_minute_before_and_the_slots_that_touch_it,
      the_timer_forgets_a_burst_at_its_second_turn, a_model_that_has_learned_decides_and_until_then_the_window, the_model_sees_the_latest_slot_first)
