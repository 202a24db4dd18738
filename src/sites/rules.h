/* rules.h: which code asks for which type of memory, as rules say it.
 *
 * A *rule* is a pattern and what it gives: `library:field:…=type`. The library is a glob over the file name of the code that
 * asks; the fields, in any order, are an API (malloc, cudaMalloc …, or `host`, `device` for all of one side), a bound on the
 * size (`>=64M`, `<1M`, at most one from below and one from above) and `@function`, a glob over the names of the functions
 * on the stack, or `@library!function`. A type may carry `+kv`: this is key/value cache, which has a line of its own.
 * The program's rules (TYPE_RULES) come first, then those that ship with Coppice; the first that holds decides.
 *
 * The bounds of all rules cut the sizes into *bands*: within one band every rule holds for all sizes or for none.
 * Rules are read once, before the first lookup, and never change. docs/TYPES.md has the syntax for users. */
#ifndef COPPICE_SITES_RULES_H
#define COPPICE_SITES_RULES_H
#include "sites/type.h"
#include "stats/names.h"
#include <stddef.h>

/* A piece of a rule's text. */
struct piece { const char *at; uint32_t length; };

struct rule {
    struct piece text;                 /* the whole rule, to be shown */
    struct piece library;              /* empty: any */
    struct piece function, of_library; /* on the stack; empty: not asked for. of_library empty: any */
    uint32_t apis;                     /* bit set of enum site_api */
    uint64_t least, most;              /* sizes, both included */
    enum coppice_type type;
    bool kv;
    bool shipped;                      /* ours, not the user's */
};

enum { RULES_MOST = 64, BOUNDS_MOST = 15 };
struct rule_set {
    struct rule rule[RULES_MOST];
    unsigned rules;
    uint64_t bound[BOUNDS_MOST]; /* ascending: band i begins at bound[i - 1] */
    unsigned bounds;
    uint64_t host_from, device_from; /* the smallest size that a rule for that side holds for; UINT64_MAX: none */
};

/* Reads the user's text and then ours. A rule that cannot be read, or for which there is no room, is one line and is left
 * out. `text` must stay. */
void rules_read(struct rule_set *set, const char *text);
/* Reads one rule (`length` bytes). NULL, or what is wrong with which part and what is accepted. */
const char *rule_read(const char *text, size_t length, struct rule *rule, struct piece *wrong);

static inline unsigned rules_band(const struct rule_set *set, uint64_t size) {
    unsigned band = 0;
    while (band < set->bounds && size >= set->bound[band]) band++;
    return band;
}
/* The smallest size of a band. */
static inline uint64_t rules_band_least(const struct rule_set *set, unsigned band) { return band ? set->bound[band - 1] : 0; }

/* Does the rule hold for code of this library (its file name), this API and this size, whatever the stack? */
bool rule_holds(const struct rule *rule, const char *library, enum site_api api, uint64_t size);
bool rule_names_library(const struct rule *rule, const char *library);
/* Does a frame, by its library and function, satisfy the rule's `@`? */
bool rule_names_frame(const struct rule *rule, const char *library, const char *function);
#endif
