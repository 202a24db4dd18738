/* site.h: return address ─► site ─► type.
 *
 * A *site* is the code that asks: a return address, for one band of sizes (rules.h). Its *kind* is what an allocation from
 * there is: the type, whether it is key/value cache, and the number under which the site is counted (0: it is not). The kind
 * is four bytes, so that a block or a thread can carry it. Who decides, first to last: the type that the thread has
 * pushed; the first rule that holds; what was learned; nobody, and then the type is untyped.
 *
 * A site is found in a hash table without a lock; a new one is made once (it needs the library's name, some microseconds).
 * Sizes below `sites_from` are not looked up at all: with no rules but ours that is whatever no rule speaks of, and
 * an allocation then costs one load and one compare. A site of which a rule asks for functions on the stack is a *crossing*:
 * each request walks the stack, and the kind is that of the crossing and rule together.
 * Entries are never removed: code that goes and other code at its address inherits the kind, which costs memory at worst. */
#ifndef COPPICE_SITES_SITE_H
#define COPPICE_SITES_SITE_H
#include "base/options.h"
#include "sites/rules.h"
#include "sites/type.h"
#include "stats/counters.h"

struct kind {
    uint8_t type; /* enum coppice_type */
    uint8_t kv;   /* key/value cache */
    uint16_t site; /* counters->site[site - 1]; 0: not counted */
};

/* The smallest size that is looked up, of the host and of devices; UINT64_MAX: none. Written by sites_start alone. */
extern uint64_t sites_from[2] __attribute__((visibility("hidden")));
enum { SITES_DEVICE, SITES_HOST };

/* Reads the rules. Once, before any thread asks; until then nothing has a kind. */
void sites_start(void);
/* Outside malloc, when a device is there: the rules may ask for the stack from now on. */
void sites_prime(void);
/* The same for rules of the host, for which a process without such libraries shall not load an unwinder: when the process has
 * started, and before it loads another library. What comes with that one is seen at the next. */
void sites_prime_host(void);
void sites_library_comes(const char *path);

struct kind site_kind(const void *caller, uint64_t size, enum site_api api);
/* The thread's last answer, where the code, the band and the API alone decided it, for good: most requests come from where
 * the one before came. A span of 0: none. */
struct site_last {
    const void *caller;
    uint64_t least, span; /* the band's sizes: least up to, not including, least + span */
    uint32_t api;
    struct kind kind;
};
extern _Thread_local struct site_last site_last __attribute__((tls_model("initial-exec"), visibility("hidden")));
/* What an allocation of `size` bytes by `caller` is. No lock, no call where nothing is known of such sizes and the thread has
 * pushed nothing. */
static inline struct kind kind_of(const void *caller, uint64_t size, enum site_api api, unsigned side) {
    if (unlikely(type_is_pushed())) return site_kind(caller, size, api);
    if (likely(size < sites_from[side])) return (struct kind){ 0 };
    const struct site_last *last = &site_last;
    if (likely(last->caller == caller && size - last->least < last->span && last->api == (uint32_t)api)) return last->kind;
    return site_kind(caller, size, api);
}

/* The band of a size: from *least on, below what is returned. Within it a site that is no crossing has one kind. */
uint64_t site_band_end(uint64_t size, uint64_t *least);

/* Counts an allocation and a free of a kind's site. */
static inline struct site_counters *site_counters_of(struct kind kind) { return &counters->site[kind.site - 1]; }
static inline void site_took(struct kind kind, uint64_t bytes) {
    if (likely(kind.site == 0)) return;
    struct site_counters *n = site_counters_of(kind);
    counter_add(&n->allocs, 1), counter_add(&n->bytes, bytes);
    counter_raise(&n->peak_live_bytes, atomic_fetch_add_explicit(&n->live_bytes, bytes, memory_order_relaxed) + bytes);
}
static inline void site_gave(struct kind kind, uint64_t bytes) {
    if (likely(kind.site == 0)) return;
    struct site_counters *n = site_counters_of(kind);
    counter_add(&n->frees, 1);
    atomic_fetch_sub_explicit(&n->live_bytes, bytes, memory_order_relaxed);
}
/* A block of this kind's site ended its life, or has lived long (TYPE_LEARN). */
static inline bool sites_learn(void) { return option_number(type_learn); }
void site_observe(struct kind kind, uint64_t size, uint64_t lifetime_ns);
/* Around fork. */
void sites_fork_prepare(void);
void sites_fork_parent(void);
void sites_fork_child(void);
#endif
