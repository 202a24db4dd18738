/* type_test.c: a thread's types nest, end where they began, and are its own. */
#include "sites/type.h"
#include "stats/names.h"
#include "suite.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

START_TEST(the_innermost_type_holds) {
    ck_assert(!type_is_pushed());
    type_push(COPPICE_SEMANTIC);
    ck_assert_int_eq(type_now(), COPPICE_SEMANTIC);
    type_push(COPPICE_EPISODIC);
    ck_assert_int_eq(type_now(), COPPICE_EPISODIC);
    type_pop();
    ck_assert_int_eq(type_now(), COPPICE_SEMANTIC);
    type_pop();
    ck_assert_int_eq(type_now(), COPPICE_UNTYPED);
    ck_assert(!type_is_pushed());
}
END_TEST

START_TEST(untyped_suspends_an_outer_type) {
    type_push(COPPICE_SEMANTIC);
    type_push(COPPICE_UNTYPED);
    ck_assert(type_is_pushed() && type_now() == COPPICE_UNTYPED);
    type_pop();
    ck_assert_int_eq(type_now(), COPPICE_SEMANTIC);
    type_pop();
}
END_TEST

START_TEST(any_depth_is_balanced) {
    for (int i = 0; i < 1000; i++) type_push((enum coppice_type)(1 + i % 4));
    ck_assert_int_eq(type_now(), 1 + (COPPICE_TYPE_DEPTH - 1) % 4);
    for (int i = 999; i >= 0; i--) {
        type_pop();
        if (i > 0 && i <= COPPICE_TYPE_DEPTH) ck_assert_int_eq(type_now(), 1 + (i - 1) % 4);
    }
    ck_assert(type_now() == COPPICE_UNTYPED && !type_is_pushed());
}
END_TEST

START_TEST(a_pop_without_a_push_does_nothing) {
    type_pop();
    type_push(COPPICE_EMOTIONAL);
    ck_assert_int_eq(type_now(), COPPICE_EMOTIONAL);
    type_pop();
    type_pop();
    ck_assert(type_now() == COPPICE_UNTYPED && !type_is_pushed());
}
END_TEST

static void *another_thread(void *unused) {
    ck_assert(type_now() == COPPICE_UNTYPED && !type_is_pushed());
    type_push(COPPICE_EPISODIC);
    return NULL;
}

START_TEST(a_type_is_its_threads_own) {
    pthread_t thread;
    type_push(COPPICE_SEMANTIC);
    ck_assert_int_eq(pthread_create(&thread, NULL, another_thread, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(type_now(), COPPICE_SEMANTIC);
    type_pop();
}
END_TEST

START_TEST(names_lead_to_types_and_back) {
    enum coppice_type type;
    for (unsigned i = 0; i < COPPICE_TYPES; i++) {
        const char *name = type_name(i);
        ck_assert(type_named(name, strlen(name), &type) && type == i);
        ck_assert(!type_named(name, strlen(name) - 1, &type));
    }
    ck_assert(!type_named("", 0, &type));
}
END_TEST

START_TEST(what_is_no_type_is_untyped) {
    ck_assert_int_eq(type_checked(COPPICE_EMOTIONAL, "test"), COPPICE_EMOTIONAL);
    ck_assert_int_eq(type_checked(COPPICE_TYPES, "test"), COPPICE_UNTYPED);
    ck_assert_int_eq(type_checked(-1u, "test"), COPPICE_UNTYPED);
}
END_TEST

SUITE("type", NULL, NULL, the_innermost_type_holds, untyped_suspends_an_outer_type, any_depth_is_balanced, a_pop_without_a_push_does_nothing,
      a_type_is_its_threads_own, names_lead_to_types_and_back, what_is_no_type_is_untyped)
