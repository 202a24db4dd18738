/* Demand is the sliding maximum of live bytes over the last minute, against a model that keeps every value. */
#include "device/demand.h"
#include "suite.h"
#include <stdlib.h>

#define SECOND 1000000000ull
#define FLOOR (64ull << 20)
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

SUITE("demand", NULL, NULL,
      a_burst_is_kept_for_a_minute_and_then_forgotten, large_demand_gets_a_tenth_more, nobody_looking_for_long_forgets_too,
      random_demand_is_between_the_minute_before_and_the_slots_that_touch_it)
