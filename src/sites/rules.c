/* rules.c: reading rules and asking them; see rules.h. */
#include "sites/rules.h"
#include "base/log.h"
#include "base/options.h"
#include <string.h>

/* The rules that ship with Coppice: what each recognises, and by what. Names of C++ functions are as the linker has them. */
static const char shipped[] =
    /* llama.cpp: every buffer comes from one line of ggml, so only the stack tells. The cache is allocated in the constructor of
     * llama_kv_cache (older: llama_kv_cache_unified), and for recurrent models of llama_memory_recurrent. Contexts of one
     * length have buffers of the same sizes, so these are kept by exact size. *llama*: programs with ggml inside. On the host
     * ggml asks posix_memalign (the cache's own C++ tables do not), and 64 KiB is where a request is a slow one anyhow (HEAP_LARGE) */
    "libggml*:>=64K:@*llama_kv_cache*=procedural+kv;"
    "libggml*:>=64K:@*llama_memory_recurrent*=procedural+kv;"
    "*llama*:device:>=64K:@*llama_kv_cache*=procedural+kv;"
    "*llama*:memalign:>=64K:@*llama_kv_cache*=procedural+kv;"
    /* PyTorch: vLLM, Aphrodite, SGLang and the static cache of transformers ask for the whole cache, or a layer's part of it, by
     * torch.zeros; weights are made by torch.empty. Small tables of zeros stay below 16 MiB, from where on a request has
     * a driver allocation of its own in PyTorch's allocator. On a device and, from libc10.so, on the host */
    "libc10*.so*:>=16M:@libtorch_cpu.so*!_ZN2at4_ops5zeros4call*=procedural+kv";

/* With SHARE_WEIGHTS: llama.cpp's weights, which the model's loader asks for; from where on they are worth it (device/weights.h). */
static const char shipped_for_weights[] = "libggml*:device:>=4M:@*llama*load_tensors*=semantic;*llama*:device:>=4M:@*llama*load_tensors*=semantic";

#define API_LIST "malloc, calloc, realloc, memalign, new, cudaMalloc, cuMemAlloc, host or device"
#define TYPE_LIST "episodic, procedural, semantic, emotional or untyped, each with +kv or without, or params"


/* --- pieces of text */

static bool piece_is(struct piece p, const char *word) { return strlen(word) == p.length && memcmp(p.at, word, p.length) == 0; }
static bool piece_matches(struct piece glob, const char *name) { return glob.length == 0 || glob_matches(glob.at, glob.length, name); }

static struct piece trimmed(const char *at, size_t length) {
    while (length > 0 && (*at == ' ' || *at == '\n' || *at == '\t')) at++, length--;
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\n' || at[length - 1] == '\t')) length--;
    return (struct piece){ at, (uint32_t)length };
}

/* Cuts off what stands before the first `end`, and that; all of it when there is none. */
static struct piece cut(struct piece *rest, char end) {
    const char *found = memchr(rest->at, end, rest->length);
    uint32_t length = found ? (uint32_t)(found - rest->at) : rest->length, over = found ? length + 1 : length;
    struct piece before = trimmed(rest->at, length);
    rest->at += over, rest->length -= over;
    return before;
}

/* --- one rule */

static const char *read_type(struct piece p, struct rule *rule) {
    if (piece_is(p, "params")) {
        rule->type = (enum coppice_type)TYPE_PARAMS;
        return NULL;
    }
    rule->kv = p.length > 3 && memcmp(p.at + p.length - 3, "+kv", 3) == 0;
    return type_named(p.at, p.length - (rule->kv ? 3 : 0), &rule->type) ? NULL : "is not a type; accepted are " TYPE_LIST;
}

static uint32_t apis_named(struct piece p) {
    uint32_t set = 0;
    for (unsigned i = 0; i < API_COUNT; i++)
        if (piece_is(p, api_name(i)) || piece_is(p, api_is_host(i) ? "host" : "device")) set |= 1u << i;
    return set;
}

static const char *read_bound(struct piece p, struct rule *rule) {
    char number[32];
    bool above = p.at[0] == '>', equal = p.length > 1 && p.at[1] == '=';
    uint32_t skip = 1 + equal;
    uint64_t bytes;
    if (p.length - skip >= sizeof number) return "is not a size";
    memcpy(number, p.at + skip, p.length - skip);
    number[p.length - skip] = 0;
    if (!parse_size(number, &bytes)) return "is not a size; accepted are >=, >, <= or < and a size such as 64M";
    if (above) rule->least = bytes + !equal;
    else if (equal) rule->most = bytes;
    else if (bytes == 0) return "holds for no size";
    else rule->most = bytes - 1;
    return NULL;
}

static const char *read_field(struct piece p, struct rule *rule) {
    if (p.length == 0) return "is empty; accepted are an API, a bound such as >=64M, or @function";
    if (p.at[0] == '>' || p.at[0] == '<') return read_bound(p, rule);
    if (p.at[0] == '@') {
        struct piece rest = { p.at + 1, p.length - 1 };
        if (memchr(rest.at, '!', rest.length)) rule->of_library = cut(&rest, '!');
        rule->function = rest;
        return rest.length ? NULL : "names no function";
    }
    uint32_t set = apis_named(p);
    rule->apis = rule->apis ? rule->apis & set : set;
    return set ? NULL : "is not an API; accepted are " API_LIST;
}

const char *rule_read(const char *text, size_t length, struct rule *rule, struct piece *wrong) {
    *rule = (struct rule){ .text = trimmed(text, length), .most = UINT64_MAX };
    const char *equals = memrchr(text, '=', length), *trouble;
    *wrong = rule->text;
    if (!equals) return "has no type: expected pattern=type";
    *wrong = trimmed(equals + 1, length - (size_t)(equals + 1 - text));
    if ((trouble = read_type(*wrong, rule))) return trouble;
    struct piece rest = trimmed(text, (size_t)(equals - text));
    rule->library = cut(&rest, ':');
    while (rest.length > 0) {
        *wrong = cut(&rest, ':');
        if ((trouble = read_field(*wrong, rule))) return trouble;
    }
    if (!rule->apis) rule->apis = (1u << API_COUNT) - 1;
    if ((unsigned)rule->type == TYPE_PARAMS) rule->apis &= apis_named((struct piece){ "host", 4 });
    *wrong = rule->text;
    if (!rule->apis) return "holds for nothing: params are memory of the host";
    return rule->least > rule->most ? "holds for no size" : NULL;
}

/* --- the set */

/* What ours need is kept free. */
enum { SHIPPED_RULES = 8, SHIPPED_BOUNDS = 3 };

/* false: no room. */
static bool add_bound(struct rule_set *set, uint64_t bound, unsigned most) {
    unsigned i = 0;
    if (bound == 0) return true;
    while (i < set->bounds && set->bound[i] < bound) i++;
    if (i < set->bounds && set->bound[i] == bound) return true;
    if (set->bounds >= most) return false;
    memmove(&set->bound[i + 1], &set->bound[i], (set->bounds - i) * sizeof set->bound[0]);
    set->bound[i] = bound, set->bounds++;
    return true;
}

static bool add_rule(struct rule_set *set, const struct rule *rule) {
    unsigned bounds = BOUNDS_MOST - (rule->shipped ? 0 : SHIPPED_BOUNDS);
    if (set->rules >= RULES_MOST - (rule->shipped ? 0 : SHIPPED_RULES) || !add_bound(set, rule->least, bounds)) return false;
    if (rule->most != UINT64_MAX && !add_bound(set, rule->most + 1, bounds)) return false;
    for (unsigned i = 0; i < API_COUNT; i++) {
        uint64_t *from = api_is_host(i) ? &set->host_from : &set->device_from;
        if ((rule->apis >> i & 1) && rule->least < *from) *from = rule->least;
    }
    set->rule[set->rules++] = *rule;
    return true;
}

static COLD void complain(struct piece rule, struct piece wrong, const char *trouble) {
    char whole[160], part[96];
    struct text w = text_in(whole, sizeof whole), p = text_in(part, sizeof part);
    for (uint32_t i = 0; i < rule.length; i++) text_char(&w, rule.at[i]);
    for (uint32_t i = 0; i < wrong.length; i++) text_char(&p, wrong.at[i]);
    log_line(OPTION_PREFIX "TYPE_RULES: rule ", whole, ": ", part, wrong.length ? " " : "", trouble, "; the other rules are used", NULL);
}

static void read_all(struct rule_set *set, const char *text, bool ours) {
    struct piece rest = { text, (uint32_t)strlen(text) }, wrong;
    struct rule rule;
    while (rest.length > 0) {
        struct piece one = cut(&rest, ';');
        if (one.length == 0) continue;
        const char *trouble = rule_read(one.at, one.length, &rule, &wrong);
        rule.shipped = ours;
        bool full = !trouble && !add_rule(set, &rule);
        if (full) trouble = "and what follows is too much: at most 56 rules and 12 different sizes", wrong = (struct piece){ 0 };
        if (trouble) complain(one, wrong, trouble);
        if (full) return;
    }
}

void rules_read(struct rule_set *set, const char *text) {
    *set = (struct rule_set){ .host_from = UINT64_MAX, .device_from = UINT64_MAX };
    read_all(set, text, false);
    read_all(set, shipped, true);
    if (option_number(share_weights)) read_all(set, shipped_for_weights, true);
}

/* --- asking */

bool rule_holds(const struct rule *rule, const char *library, enum site_api api, uint64_t size) {
    return (rule->apis >> api & 1) && size >= rule->least && size <= rule->most && piece_matches(rule->library, library);
}

bool rule_names_library(const struct rule *rule, const char *library) { return piece_matches(rule->library, library); }

bool rule_names_frame(const struct rule *rule, const char *library, const char *function) {
    return piece_matches(rule->of_library, library) && piece_matches(rule->function, function);
}
