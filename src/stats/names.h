/* names.h: words for the numbers in the counters that stand for something: memory types, who asks for memory, why a
 * site has its type, and how tight memory is. Each list is one table; what is out of range (somebody else's file) is "?". */
#ifndef COPPICE_STATS_NAMES_H
#define COPPICE_STATS_NAMES_H
#include <stdbool.h>
#include <stdint.h>

/* What a program calls for memory. X(NAME, name, is it the host's?) */
#define SITE_APIS(X) \
    X(MALLOC, "malloc", true) \
    X(CALLOC, "calloc", true) \
    X(REALLOC, "realloc", true) \
    X(MEMALIGN, "memalign", true) \
    X(NEW, "new", true) \
    X(CUDA_MALLOC, "cudaMalloc", false) \
    X(CU_MEM_ALLOC, "cuMemAlloc", false)
enum site_api {
#define X(NAME, name, host) API_##NAME,
    SITE_APIS(X)
#undef X
    API_COUNT
};

/* Why a site has its type. */
enum site_reason { SITE_DEFAULT, SITE_SHIPPED_RULE, SITE_RULE, SITE_API, SITE_LEARNED, SITE_REASONS };

const char *type_name(uint64_t type); /* enum coppice_type: "untyped", "episodic", …; and "params" */
const char *api_name(uint64_t api);
bool api_is_host(uint64_t api);
const char *reason_name(uint64_t reason);
const char *pressure_level_name(uint64_t level);
const char *pressure_source_name(uint64_t source);
#endif
