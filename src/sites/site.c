/* site.c: the table of sites; see site.h. */
#include "sites/site.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/text.h"
#include "sites/learn.h"
#include "sites/module.h"
#include "sites/stack.h"
#include <string.h>
#include <time.h>

enum { SLOTS = 4096, FULL = SLOTS * 3 / 4, FRAMES = 1024, FORK_PATIENCE = 1000 /* times 20 us */ };

/* A site's key: the address, its band, and whose answer it is: 0 the site's own, 1 + rule of a crossing, PUSHED + type. */
enum { BAND_AT = 56, ANSWER_AT = 48, PUSHED = 128, NO_RULE = 1 + RULES_MOST };

struct entry {
    _Atomic uint64_t key; /* 0: free; published last */
    struct kind kind;
    bool crossing;
};
static struct entry table[SLOTS];
static unsigned used; /* under the lock */
static struct lock table_lock = LOCK_INIT(RANK_SITES);

/* Which rules' functions a return address names: bit set; an entry is read back, so a torn one is not believed. */
static struct { _Atomic uint64_t address, rules; } frames[FRAMES];

static struct rule_set rules;
static bool count_all; /* every site that is looked up is counted, for the user has asked about sites */
uint64_t sites_from[2] = { UINT64_MAX, UINT64_MAX };
_Thread_local struct site_last site_last;
static _Thread_local bool inside; /* the unwinder and the list of objects may allocate */

void sites_start(void) {
    const char *text = option_text(type_rules);
    rules_read(&rules, text);
    count_all = *text || sites_learn();
    sites_from[SITES_DEVICE] = sites_learn() ? 0 : rules.device_from, sites_from[SITES_HOST] = sites_learn() ? 0 : rules.host_from;
}

/* --- the unwinder */

static bool speaks_of(const struct rule *rule, bool host) {
    for (unsigned api = 0; api < API_COUNT; api++)
        if ((rule->apis >> api & 1) && api_is_host(api) == host) return true;
    return false;
}

/* The first rule of that side which names a function, and this library; NULL: any. */
static const struct rule *crossing_rule(bool host, const char *library) {
    for (const struct rule *rule = rules.rule; rule < rules.rule + rules.rules; rule++)
        if (rule->function.length && speaks_of(rule, host) && (!library || rule_names_library(rule, library))) return rule;
    return NULL;
}

/* On the host only the user hears of it, and of rules of his own: they stand before ours. */
static void prime(bool host) {
    static _Atomic bool said;
    const struct rule *first = crossing_rule(host, NULL);
    if (!first || stack_prime() || (host && first->shipped) || atomic_exchange(&said, true)) return;
    log_line("libunwind.so.8 is not there: rules that name functions on the stack (@…) do not hold in this process", NULL);
}
static bool crosses_on_host(const char *library) { return crossing_rule(true, library) != NULL; }

void sites_prime(void) { prime(false); }
static _Atomic bool host_has_unwinder;
static COLD void look_for_libraries(const char *coming) {
    if (!crosses_on_host(coming) && !any_new_library(crosses_on_host)) return;
    prime(true);
    atomic_store(&host_has_unwinder, stack_prime());
}
void sites_prime_host(void) { look_for_libraries(""); }
void sites_library_comes(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!atomic_load_explicit(&host_has_unwinder, memory_order_relaxed)) look_for_libraries(slash ? slash + 1 : path);
}

/* --- the table */

static inline uint64_t key_of(const void *caller, unsigned band, unsigned answer) {
    return ((uint64_t)(uintptr_t)caller ^ (uint64_t)band << BAND_AT ^ (uint64_t)answer << ANSWER_AT) | 1ull << 63;
}
static inline unsigned slot_of(uint64_t key) { return (unsigned)(key * 0x9e3779b97f4a7c15ull >> 52); }

static inline struct entry *find(uint64_t key) {
    for (unsigned i = slot_of(key);; i++) {
        struct entry *e = &table[i % SLOTS];
        uint64_t there = atomic_load_explicit(&e->key, memory_order_acquire);
        if (likely(there == key)) return e;
        if (there == 0) return NULL;
    }
}

/* The entry of that key, which another thread may have added meanwhile; NULL: the table is full. */
static struct entry *insert(uint64_t key, struct kind kind, bool crossing) {
    lock_take(&table_lock);
    struct entry *e = find(key);
    if (!e && used < FULL) {
        unsigned i = slot_of(key);
        while (atomic_load_explicit(&table[i % SLOTS].key, memory_order_relaxed)) i++;
        e = &table[i % SLOTS];
        e->kind = kind, e->crossing = crossing;
        atomic_store_explicit(&e->key, key, memory_order_release);
        used++;
    }
    lock_release(&table_lock);
    return e;
}

/* --- learning */

/* Lessons of the sites that nobody else decides, by the site's number, and the entry that the type is written to. */
static struct { struct lesson lesson; struct entry *entry; } learned[COUNTER_SITES];
static struct lock lesson_lock = LOCK_INIT(RANK_SITES);

static void may_learn(struct entry *e, enum site_api api, enum site_reason reason) {
    if (!sites_learn() || !e || !e->kind.site || reason != SITE_DEFAULT) return;
    learned[e->kind.site - 1].lesson.host = api_is_host(api);
    __atomic_store_n(&learned[e->kind.site - 1].entry, e, __ATOMIC_RELEASE);
}

/* The type in the entry is one byte: whoever reads it meanwhile has the old or the new. */
static void take_over(struct entry *e, const struct lesson *l) {
    struct site_counters *n = site_counters_of(e->kind);
    __atomic_store_n(&e->kind.type, l->type, __ATOMIC_RELAXED);
    counter_set(&n->type, l->type), counter_set(&n->reason, l->type ? SITE_LEARNED : SITE_DEFAULT);
}

void site_observe(struct kind kind, uint64_t size, uint64_t lifetime_ns) {
    struct entry *e = kind.site ? __atomic_load_n(&learned[kind.site - 1].entry, __ATOMIC_ACQUIRE) : NULL;
    if (!e) return;
    struct lesson *l = &learned[kind.site - 1].lesson;
    lock_take(&lesson_lock);
    if (lesson_observe(l, size, lifetime_ns)) take_over(e, l);
    if (l->observations % LEARN_AFTER == 0) counter_set(&site_counters_of(kind)->observations, l->observations);
    lock_release(&lesson_lock);
}

/* --- making a site */

/* What is said of a site that is counted; 0: it is not, or there is no room. */
static uint16_t count_site(const struct code_place *place, enum site_api api, unsigned band, struct kind kind, enum site_reason reason, const struct rule *rule) {
    struct site_counters *n = counters_site();
    if (!n) return 0;
    struct text name = text_in(n->name, sizeof n->name), why = text_in(n->rule, sizeof n->rule), function = text_in(n->function, sizeof n->function);
    text_add(&name, place->library[0] ? place->library : "?"), text_char(&name, '+'), text_hex(&name, place->offset);
    text_add(&function, place->function);
    for (uint32_t i = 0; rule && i < rule->text.length; i++) text_char(&why, rule->text.at[i]);
    counter_set(&n->api, api), counter_set(&n->least_bytes, rules_band_least(&rules, band));
    counter_set(&n->type, kind.type), counter_set(&n->kv, kind.kv), counter_set(&n->reason, reason);
    counter_set(&n->in_use, 1);
    return (uint16_t)(n - counters->site + 1);
}

/* The first rule for these that asks for no function; `crossing`: one before it does. */
static const struct rule *rule_for(const char *library, enum site_api api, uint64_t size, bool *crossing) {
    *crossing = false;
    for (unsigned i = 0; i < rules.rules; i++) {
        const struct rule *rule = &rules.rule[i];
        if (!rule_holds(rule, library, api, size)) continue;
        if (!rule->function.length) return rule;
        *crossing = true;
    }
    return NULL;
}

static struct kind kind_by(const struct rule *rule) {
    return rule ? (struct kind){ .type = (uint8_t)rule->type, .kv = rule->kv } : (struct kind){ 0 };
}
static enum site_reason reason_of(const struct rule *rule) { return !rule ? SITE_DEFAULT : rule->shipped ? SITE_SHIPPED_RULE : SITE_RULE; }

static COLD struct entry *make_site(const void *caller, unsigned band, uint64_t size, enum site_api api) {
    struct code_place place;
    bool crossing;
    if (__atomic_load_n(&used, __ATOMIC_RELAXED) >= FULL) return NULL;
    place_find(caller, true, &place);
    const struct rule *rule = rule_for(place.library, api, size, &crossing);
    struct kind kind = kind_by(rule);
    if (!crossing && (rule || count_all)) kind.site = count_site(&place, api, band, kind, reason_of(rule), rule);
    struct entry *e = insert(key_of(caller, band, 0), kind, crossing);
    may_learn(e, api, reason_of(rule));
    return e;
}

/* A site whose type comes from the rule, or from nobody, after the stack was looked at; or from the thread. */
static COLD struct entry *make_answer(const void *caller, unsigned band, enum site_api api, unsigned answer, const struct rule *rule) {
    struct code_place place;
    place_find(caller, true, &place);
    struct kind kind = answer >= PUSHED ? (struct kind){ .type = (uint8_t)(answer - PUSHED) } : kind_by(rule);
    enum site_reason reason = answer >= PUSHED ? SITE_API : reason_of(rule);
    if (rule || count_all || answer >= PUSHED) kind.site = count_site(&place, api, band, kind, reason, rule);
    struct entry *e = insert(key_of(caller, band, answer), kind, false);
    may_learn(e, api, reason);
    return e;
}

/* --- the stack */

static COLD uint64_t rules_of_frame(const void *address) {
    struct code_place place;
    uint64_t set = 0;
    bool wanted = false;
    place_find(address, false, &place);
    for (unsigned i = 0; i < rules.rules && !wanted; i++) {
        const struct rule *rule = &rules.rule[i];
        wanted = rule->function.length && (!rule->of_library.length || glob_matches(rule->of_library.at, rule->of_library.length, place.library));
    }
    if (wanted) place_find(address, true, &place);
    for (unsigned i = 0; wanted && i < rules.rules; i++)
        if (rules.rule[i].function.length && rule_names_frame(&rules.rule[i], place.library, place.function)) set |= 1ull << i;
    return set;
}

static uint64_t frame_rules(const void *address) {
    uint64_t key = (uint64_t)(uintptr_t)address;
    unsigned i = slot_of(key) % FRAMES;
    uint64_t set = atomic_load_explicit(&frames[i].rules, memory_order_acquire);
    if (atomic_load_explicit(&frames[i].address, memory_order_acquire) == key && atomic_load_explicit(&frames[i].rules, memory_order_acquire) == set) return set;
    set = rules_of_frame(address);
    atomic_store_explicit(&frames[i].address, 0, memory_order_release);
    atomic_store_explicit(&frames[i].rules, set, memory_order_release);
    atomic_store_explicit(&frames[i].address, key, memory_order_release);
    return set;
}

/* The rule that decides at a crossing: the first that holds, its function being on the stack. */
static COLD const struct rule *look_at_stack(const struct code_place *place, uint64_t size, enum site_api api) {
    void *frame[STACK_MOST];
    int count = stack_walk(frame, STACK_MOST);
    uint64_t named = 0;
    for (int i = 0; i < count; i++) named |= frame_rules(frame[i]);
    for (unsigned i = 0; i < rules.rules; i++) {
        const struct rule *rule = &rules.rule[i];
        if ((!rule->function.length || (named >> i & 1)) && rule_holds(rule, place->library, api, size)) return rule;
    }
    return NULL;
}

static COLD struct entry *cross(const void *caller, unsigned band, uint64_t size, enum site_api api) {
    struct code_place place;
    place_find(caller, false, &place);
    const struct rule *rule = look_at_stack(&place, size, api);
    unsigned answer = rule ? 1 + (unsigned)(rule - rules.rule) : NO_RULE;
    struct entry *e = find(key_of(caller, band, answer));
    return e ? e : make_answer(caller, band, api, answer, rule);
}

/* --- asking */

static struct entry *site_by_rules(const void *caller, unsigned band, uint64_t size, enum site_api api) {
    struct entry *e = find(key_of(caller, band, 0));
    if (unlikely(!e)) e = make_site(caller, band, size, api);
    return e && unlikely(e->crossing) ? cross(caller, band, size, api) : e;
}

static struct entry *site_by_thread(const void *caller, unsigned band, enum site_api api) {
    unsigned answer = PUSHED + type_now();
    struct entry *e = find(key_of(caller, band, answer));
    return likely(e != NULL) ? e : make_answer(caller, band, api, answer, NULL);
}

/* Who asks the linker for its list of objects holds the linker's lock, which in a fork's child would be held for ever: so nobody
 * asks while the process forks, and what is asked for then is of no known kind. */
static _Atomic unsigned asking;
static _Atomic bool forking;
static bool may_ask(void) {
    atomic_fetch_add(&asking, 1);
    if (likely(!inside && !atomic_load(&forking))) return inside = true;
    atomic_fetch_sub(&asking, 1);
    return false;
}
static void has_asked(void) { inside = false, atomic_fetch_sub(&asking, 1); }

static COLD struct kind new_kind(const void *caller, unsigned band, uint64_t size, enum site_api api) {
    if (!may_ask()) return (struct kind){ .type = thread_type.now };
    struct entry *e = type_is_pushed() ? site_by_thread(caller, band, api) : site_by_rules(caller, band, size, api);
    has_asked();
    return e ? e->kind : (struct kind){ .type = thread_type.now };
}

static void remember(const void *caller, unsigned band, enum site_api api, struct kind kind) {
    uint64_t least = rules_band_least(&rules, band), end = band < rules.bounds ? rules.bound[band] : UINT64_MAX;
    site_last = (struct site_last){ .caller = caller, .least = least, .span = end - least, .api = api, .kind = kind };
}

struct kind site_kind(const void *caller, uint64_t size, enum site_api api) {
    unsigned band = rules_band(&rules, size);
    struct entry *e = find(key_of(caller, band, type_is_pushed() ? PUSHED + type_now() : 0));
    if (unlikely(!e || e->crossing)) return new_kind(caller, band, size, api);
    if (!type_is_pushed() && !sites_learn()) remember(caller, band, api, e->kind);
    return e->kind;
}

uint64_t site_band_end(uint64_t size, uint64_t *least) {
    unsigned band = rules_band(&rules, size);
    *least = rules_band_least(&rules, band);
    return band < rules.bounds ? rules.bound[band] : UINT64_MAX;
}

void sites_fork_prepare(void) {
    atomic_store(&forking, true);
    for (unsigned turn = 0; atomic_load(&asking) > inside && turn < FORK_PATIENCE; turn++) nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}
void sites_fork_parent(void) { atomic_store(&forking, false); }
void sites_fork_child(void) {
    lock_reset(&table_lock), lock_reset(&lesson_lock);
    atomic_store(&asking, inside), atomic_store(&forking, false);
}
