/* rules_test.c: rules are read as docs/TYPES.md says, the first that holds decides, and a bad one is named. */
#include "sites/rules.h"
#include "suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rule_set set;
static struct rule rule;
static struct piece wrong;

static const char *trouble(const char *text) { return rule_read(text, strlen(text), &rule, &wrong); }
static bool is(struct piece p, const char *word) { return p.length == strlen(word) && memcmp(p.at, word, p.length) == 0; }

/* The first rule that holds for any stack. */
static const struct rule *first(const char *library, enum site_api api, uint64_t size) {
    for (unsigned i = 0; i < set.rules; i++)
        if (!set.rule[i].function.length && rule_holds(&set.rule[i], library, api, size)) return &set.rule[i];
    return NULL;
}

START_TEST(the_example_of_the_documents) {
    rules_read(&set, "libggml-cuda.so*:cudaMalloc:>=64M=semantic;libtorch_cuda.so*=procedural");
    ck_assert_int_eq(first("libggml-cuda.so", API_CUDA_MALLOC, 64 << 20)->type, COPPICE_SEMANTIC);
    ck_assert(!first("libggml-cuda.so", API_CUDA_MALLOC, (64 << 20) - 1));
    ck_assert(!first("libggml-cuda.so", API_CU_MEM_ALLOC, 64 << 20));
    ck_assert(!first("libggml-base.so", API_CUDA_MALLOC, 64 << 20));
    ck_assert_int_eq(first("libtorch_cuda.so.2", API_MALLOC, 1)->type, COPPICE_PROCEDURAL);
}
END_TEST

START_TEST(the_first_rule_decides_and_the_users_come_first) {
    rules_read(&set, " a*=episodic ;\n a.so=semantic; ");
    ck_assert_int_eq(first("a.so", API_NEW, 8)->type, COPPICE_EPISODIC);
    ck_assert(!set.rule[0].shipped && !set.rule[1].shipped && set.rule[2].shipped);
}
END_TEST

START_TEST(every_field_is_read) {
    ck_assert(!trouble("lib?.so:host:>1K:<=2K:@libpython*!_Py*Eval=emotional+kv"));
    ck_assert(rule.least == 1025 && rule.most == 2048 && rule.kv && rule.type == COPPICE_EMOTIONAL);
    ck_assert(is(rule.library, "lib?.so") && is(rule.function, "_Py*Eval") && is(rule.of_library, "libpython*"));
    for (enum site_api api = 0; api < API_COUNT; api++) ck_assert(rule_holds(&rule, "lib1.so", api, 2000) == api_is_host(api));
    ck_assert(rule_names_frame(&rule, "libpython3.11.so", "_PyX_Eval") && !rule_names_frame(&rule, "libc.so.6", "_PyX_Eval"));
    ck_assert(!rule_names_frame(&rule, "libpython3.11.so", "main"));
    ck_assert(!trouble("=untyped") && rule.library.length == 0 && rule.apis == (1u << API_COUNT) - 1);
    ck_assert(!trouble("libx.so:<1K=params") && (unsigned)rule.type == TYPE_PARAMS);
    for (enum site_api api = 0; api < API_COUNT; api++) ck_assert(rule_holds(&rule, "libx.so", api, 200) == api_is_host(api));
    ck_assert(!trouble(":<1M=episodic") && rule.most == (1 << 20) - 1);
}
END_TEST

START_TEST(what_is_wrong_is_named) {
    static const struct { const char *rule, *part, *says; } bad[] = {
        { "libx.so", "libx.so", "no type" },
        { "libx.so=fleeting", "fleeting", "episodic" },
        { "libx.so=", "", "episodic" },
        { "libx.so=params+kv", "params+kv", "or params" },
        { "libx.so:device=params", "libx.so:device=params", "host" },
        { "libx.so:cudaMaloc=semantic", "cudaMaloc", "cudaMalloc" },
        { "libx.so:>=lots=semantic", ">=lots", "64M" },
        { "libx.so:>64M:<1M=semantic", "libx.so:>64M:<1M=semantic", "no size" },
        { "libx.so:<0=semantic", "<0", "no size" },
        { "libx.so::malloc=semantic", "", "empty" },
        { "libx.so:@=semantic", "@", "no function" },
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *said = trouble(bad[i].rule);
        ck_assert_msg(said && strstr(said, bad[i].says), "%s: %s", bad[i].rule, said ? said : "accepted");
        ck_assert_msg(is(wrong, bad[i].part), "%s: names %.*s", bad[i].rule, (int)wrong.length, wrong.at);
    }
}
END_TEST

START_TEST(a_bad_rule_leaves_the_others) {
    rules_read(&set, "nonsense;a.so=episodic;b.so:sometimes=semantic;c.so=emotional");
    ck_assert(first("a.so", API_MALLOC, 1) && !first("b.so", API_MALLOC, 1) && first("c.so", API_MALLOC, 1));
}
END_TEST

START_TEST(bounds_cut_sizes_into_bands) {
    rules_read(&set, "a:>=1M:<4M=semantic;b:>=1M=episodic");
    ck_assert(rules_band(&set, 0) == 0 && rules_band_least(&set, 0) == 0);
    for (unsigned band = 0; band <= set.bounds; band++) {
        uint64_t least = rules_band_least(&set, band);
        ck_assert_uint_eq(rules_band(&set, least), band);
        if (band) ck_assert_uint_eq(rules_band(&set, least - 1), band - 1);
    }
    ck_assert_uint_eq(rules_band(&set, 1 << 20), rules_band(&set, (4 << 20) - 1));
    ck_assert_uint_ne(rules_band(&set, 1 << 20), rules_band(&set, 4 << 20));
}
END_TEST

START_TEST(where_rules_begin_to_hold) {
    rules_read(&set, "");
    ck_assert(set.host_from == 64 << 10 && set.device_from == 64 << 10 && set.rules > 0);
    rules_read(&set, "a:malloc:>=16K=semantic;b:cudaMalloc=semantic");
    ck_assert(set.host_from == 16 << 10 && set.device_from == 0);
}
END_TEST

START_TEST(too_many_rules_are_left_out) {
    static char text[8192];
    for (int i = 0; i < 100; i++) snprintf(text + strlen(text), 40, "lib%d.so:>=%d=episodic;", i, 1000 + i % 20);
    rules_read(&set, text);
    ck_assert(set.rules <= RULES_MOST && set.bounds <= BOUNDS_MOST && first("lib3.so", API_MALLOC, 5000));
    ck_assert(set.rule[set.rules - 1].shipped && set.device_from < UINT64_MAX);
}
END_TEST

SUITE("rules", NULL, NULL, the_example_of_the_documents, the_first_rule_decides_and_the_users_come_first, every_field_is_read, what_is_wrong_is_named,
      a_bad_rule_leaves_the_others, bounds_cut_sizes_into_bands, where_rules_begin_to_hold, too_many_rules_are_left_out)
