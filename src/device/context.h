/* context.h: one CUDA context as the pool sees it, and which one the calling thread has current.
 *
 * A *context* owns the blocks allocated in it. Its descriptor is made when the context is first seen and is kept for
 * ever (a later CUDA context at the same address uses it again), so a pointer to one never dangles. The *gate* says why
 * nothing may be cached or reused: 0 is open; every hit looks at it.
 * The calling thread's current context is remembered by the hooks of the functions that switch it, so that a hit asks
 * nobody; debug builds compare it with the driver's answer. */
#ifndef COPPICE_DEVICE_CONTEXT_H
#define COPPICE_DEVICE_CONTEXT_H
#include "device/driver.h"
#include "device/shard.h"
#include "dtesn/demand.h"
#include "sites/site.h"
#include "stats/counters.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CONTEXTS = 16 };
enum gate {
    GATE_CLOSED = 1,   /* destroyed, reset, or about to be */
    GATE_POISONED = 2, /* a sticky error: the driver answers everything from now on */
    GATE_OFF = 4,      /* POOL_MAX=0, or the process switched off */
    GATE_ENDING = 8,   /* beside CLOSED: being destroyed or reset, and it may yet live on */
};

struct membranes;
struct context {
    CUcontext handle;
    unsigned index; /* in contexts[] and in counters->device[] */
    CUdevice ordinal;
    bool created; /* by cuCtxCreate; else it is its device's primary context */
    _Atomic uint32_t gate;
    _Atomic uint32_t visitors;      /* threads that work in it of our own accord: it does not end before they have gone */
    uint64_t capacity; /* bytes of the device */
    _Atomic uint64_t pool_max; /* most bytes cached on the device; follows POOL_MAX while it runs */
    struct device_counters *counters;
    struct demand demand;
    _Atomic uint32_t sparing;       /* shards that may have something spare (pool_parts.h), by their bit */
    _Atomic uint32_t tick;          /* goes up each second, where the service thread runs */
    _Atomic uint64_t ahead_size;    /* what an emotional request last missed (ahead.h); 0: none yet */
    struct pages *pages;         /* page backend, page.h; NULL: blocks come whole from the driver */
    _Atomic bool pages_opened;   /* `pages` is known; else pages_of() finds out */
    struct membranes *tree;      /* of its device; NULL: there are none (budget.h) */
    struct device_cells *cells;
    uint32_t key_mask;           /* 0: nobody is told from anybody */
    _Atomic uint8_t loose[BINS]; /* loose fits of each size (fit.h), modulo 256 */
    struct shard shard[SHARDS];
};

/* Every context seen so far, in order; an entry is written once. NULL ends the list when it is not full. */
extern struct context *_Atomic contexts[CONTEXTS];
unsigned context_count(void); /* live ones */
static inline bool context_has_work(const struct context *c) { return !(atomic_load(&c->gate) & (GATE_CLOSED | GATE_POISONED)); }
static inline bool context_is_lost(const struct context *c) { return atomic_load(&c->gate) & GATE_POISONED; }

union kind_word { struct kind kind; uint32_t word; };
struct thread_device {
    struct context *current; /* NULL: not known, ask the driver */
    uint32_t shard;          /* where in a context the thread's shard lies, in bytes; 0: none yet */
    bool tried;              /* the runtime hook has tried the pool for the allocation that now reaches the driver hook */
    bool asked;              /* it has found the kind, too */
    union {
        struct kind kind;    /* of the allocation that this thread is about to make */
        uint32_t kind_word;
    };
};
extern _Thread_local struct thread_device thread_device;

/* The calling thread's context if it is known without asking; for the fast path. */
static inline struct context *context_known(void) { return thread_device.current; }
/* The same, asking the driver if need be; NULL: no context is current, or it cannot be served. */
struct context *context_current(void);
/* The descriptor of `handle`, made if it is new; NULL when there are too many. `handle` must be valid. */
struct context *context_of(CUcontext handle);
/* The thread's current context was changed to something that is not known here. */
static inline void context_forget_current(void) { thread_device.current = NULL; }
void context_set_current(CUcontext handle);
/* Around what we do in a context of our own accord, such as trimming it: whoever destroys it meanwhile waits for the end of that. False, and
 * nothing to depart from: it has ended, or is about to. May be nested. */
bool context_visit(struct context *c);
void context_depart(struct context *c);
/* A visit with calls that need the context current, whatever the program has: false, and nothing to leave, when it cannot be. */
bool context_enter(struct context *c);
void context_leave(struct context *c);

/* Before the context is destroyed or reset: no hit, no event, no visit, and nobody visits it any more. Returns the context or NULL when it is not one of ours. */
struct context *context_close(CUcontext handle);
/* It has ended: its events and streams are forgotten. */
void context_ended(struct context *c);
/* It lives on after all (the call failed, or others hold the primary context). */
void context_reopen(struct context *c);
/* The driver answered so in this context: after an error that lasts nothing is cached there any more. */
void context_noticed(struct context *c, CUresult answer);
/* The same of a call that the program made in its current context. */
void context_faulted(CUresult answer);
/* POOL_MAX is another one now. */
void context_limit_changed(struct context *c);
/* A context that cuCtxCreate made: the reset of its device's primary context leaves it alone. */
void context_set_created(CUcontext handle);
/* The next context of the device after `c` (NULL: the first) that nobody created: the primary one, or what derives from it. */
struct context *context_next_primary(CUdevice device, struct context *c);
/* Bytes cached on a device by all contexts of this process. */
uint64_t context_cached_on(CUdevice device);
void context_fork_child(void);
#endif
