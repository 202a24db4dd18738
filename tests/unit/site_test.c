/* site_test.c: an address leads to the library and function around it, a site to its kind, and the stack decides where a rule
 * asks for it. */
#include "sites/site.h"
#include "base/options.h"
#include "sites/module.h"
#include "sites/stack.h"
#include "suite.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void begin(void) { option_text(type_rules) = "site_test:cudaMalloc:>=1M:@*make_the_cache*=procedural+kv;site_test:cudaMalloc:>=4M=semantic;site_test:malloc:<64=episodic"; }

#define NOINLINE __attribute__((noinline))
static NOINLINE struct kind ask(uint64_t size, enum site_api api, unsigned side) { return kind_of(__builtin_return_address(0), size, api, side); }

/* Exported, so that its name is known; the work after the call keeps its frame on the stack. */
NOINLINE __attribute__((visibility("default"))) struct kind make_the_cache(uint64_t size);
struct kind make_the_cache(uint64_t size) {
    struct kind kind = ask(size, API_CUDA_MALLOC, SITES_DEVICE);
    __asm__ volatile("" ::: "memory");
    return kind;
}
static NOINLINE struct kind make_something(uint64_t size) {
    struct kind kind = ask(size, API_CUDA_MALLOC, SITES_DEVICE);
    __asm__ volatile("" ::: "memory");
    return kind;
}

START_TEST(addresses_have_names) {
    struct code_place place;
    ck_assert(place_find((char *)&strtol + 4, true, &place));
    ck_assert_msg(strncmp(place.library, "libc.so", 7) == 0, "%s", place.library);
    ck_assert_msg(strstr(place.function, "strtol"), "%s", place.function);
    ck_assert(place_find((char *)&make_the_cache + 4, true, &place));
    ck_assert_str_eq(place.library, "site_test");
    ck_assert_str_eq(place.function, "make_the_cache");
    ck_assert(place.offset > 0 && place_find((char *)&make_the_cache + 4, false, &place) && !place.function[0]);
    ck_assert(!place_find(&place, true, &place) && !place_find(NULL, true, &place));
}
END_TEST

START_TEST(nothing_is_looked_up_before_the_rules_are_read) {
    struct kind kind = ask(1 << 30, API_CUDA_MALLOC, SITES_DEVICE);
    ck_assert(kind.type == COPPICE_UNTYPED && !kind.site && !counter_get(&counters->sites_used));
}
END_TEST

START_TEST(the_stack_decides_where_a_rule_asks_for_it) {
    sites_start();
    sites_prime();
    for (int i = 0; i < 3; i++) {
        struct kind cache = make_the_cache(2 << 20), other = make_something(2 << 20), large = make_something(8 << 20);
        ck_assert_msg(cache.type == COPPICE_PROCEDURAL && cache.kv, "type %d", cache.type);
        ck_assert(other.type == COPPICE_UNTYPED && !other.kv);
        ck_assert(large.type == COPPICE_SEMANTIC && !large.kv);
        ck_assert(make_the_cache(8 << 20).kv && !make_the_cache(1000).kv);
    }
    ck_assert_uint_le(counter_get(&counters->sites_used), 7);
}
END_TEST

START_TEST(a_site_says_where_it_is_and_why) {
    sites_start();
    struct kind kind = ask(10, API_MALLOC, SITES_HOST);
    ck_assert(kind.type == COPPICE_EPISODIC && kind.site);
    struct site_counters *n = site_counters_of(kind);
    ck_assert_msg(strncmp(n->name, "site_test+0x", 12) == 0, "%s", n->name);
    ck_assert_str_eq(n->rule, "site_test:malloc:<64=episodic");
    ck_assert(counter_get(&n->reason) == SITE_RULE && counter_get(&n->api) == API_MALLOC);
    site_took(kind, 10), site_took(kind, 20), site_gave(kind, 10);
    ck_assert(counter_get(&n->allocs) == 2 && counter_get(&n->frees) == 1 && counter_get(&n->live_bytes) == 20 && counter_get(&n->peak_live_bytes) == 30);
    ck_assert(ask(64, API_MALLOC, SITES_HOST).type == COPPICE_UNTYPED);
}
END_TEST

START_TEST(what_a_thread_pushes_wins_over_every_rule) {
    sites_start();
    type_push(COPPICE_EMOTIONAL);
    struct kind kind = ask(10, API_MALLOC, SITES_HOST);
    ck_assert(kind.type == COPPICE_EMOTIONAL && counter_get(&site_counters_of(kind)->reason) == SITE_API);
    type_push(COPPICE_UNTYPED);
    ck_assert_int_eq(ask(10, API_MALLOC, SITES_HOST).type, COPPICE_UNTYPED);
    type_pop(), type_pop();
    ck_assert_int_eq(ask(10, API_MALLOC, SITES_HOST).type, COPPICE_EPISODIC);
}
END_TEST

/* Many threads meet the same new sites: each site is one entry, and every answer is the same. */
static void *many_sites(void *unused) {
    for (uintptr_t i = 1; i < 400; i++) {
        struct kind kind = kind_of((char *)&make_the_cache + i, 10, API_MALLOC, SITES_HOST);
        ck_assert_int_eq(kind.type, COPPICE_EPISODIC);
        ck_assert_int_eq(kind_of((char *)&make_the_cache + i, 10, API_MALLOC, SITES_HOST).site, kind.site);
    }
    return NULL;
}

START_TEST(threads_that_meet_a_new_site_agree) {
    pthread_t thread[4];
    sites_start();
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, many_sites, NULL);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    struct kind first = kind_of((char *)&make_the_cache + 1, 10, API_MALLOC, SITES_HOST);
    ck_assert_int_eq(kind_of((char *)&make_the_cache + 1, 20, API_MALLOC, SITES_HOST).site, first.site);
}
END_TEST

START_TEST(more_sites_than_there_is_room_for_are_typed_all_the_same) {
    sites_start();
    for (uintptr_t i = 1; i < 10000; i++) {
        struct kind kind = kind_of((char *)&strtol + i, 10, API_MALLOC, SITES_HOST);
        ck_assert(kind.type == COPPICE_UNTYPED);
    }
    ck_assert(counter_get(&counters->sites_used) <= COUNTER_SITES);
}
END_TEST

START_TEST(a_stack_is_walked_or_known_to_be_out_of_reach) {
    void *frame[STACK_MOST];
    stack_prime();
    int count = stack_walk(frame, STACK_MOST);
    ck_assert_int_ge(count, 1);
    ck_assert_int_le(stack_walk(frame, 1), 1);
}
END_TEST

SUITE("site", begin, NULL, addresses_have_names, nothing_is_looked_up_before_the_rules_are_read, the_stack_decides_where_a_rule_asks_for_it,
      a_site_says_where_it_is_and_why, what_a_thread_pushes_wins_over_every_rule, threads_that_meet_a_new_site_agree,
      more_sites_than_there_is_room_for_are_typed_all_the_same, a_stack_is_walked_or_known_to_be_out_of_reach)
