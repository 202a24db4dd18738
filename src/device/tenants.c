/* tenants.c: asking co-tenants; see tenants.h. */
#include "device/tenants.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/options.h"
#include "stats/ask.h"
#include "stats/control.h"
#include "stats/folder.h"
#include "stats/totals.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ASKED = 16, QUIET = 32 };
#define QUIET_NS 60000000000u
#define LOOK_NS 200000

/* Those that did not answer, under quiet_lock: the oldest entry makes place for the next. */
static struct lock quiet_lock = LOCK_INIT(RANK_CONTEXT);
static struct { uint64_t pid, ticks, until; } quiet[QUIET];
static unsigned next_quiet;

static bool is_quiet(uint64_t pid, uint64_t ticks) {
    bool found = false;
    uint64_t now = clock_ns();
    lock_take(&quiet_lock);
    for (unsigned i = 0; i < QUIET; i++) found |= quiet[i].pid == pid && quiet[i].ticks == ticks && now < quiet[i].until;
    lock_release(&quiet_lock);
    return found;
}

static void leave_alone(uint64_t pid, uint64_t ticks) {
    lock_take(&quiet_lock);
    quiet[next_quiet].pid = pid, quiet[next_quiet].ticks = ticks, quiet[next_quiet].until = clock_ns() + QUIET_NS;
    next_quiet = (next_quiet + 1) % QUIET;
    lock_release(&quiet_lock);
}

/* --- one round of questions */

enum stage { TO_ASK, TO_ANSWER, OVER };
struct round {
    struct context *c;
    struct control_request request;
    unsigned count;
    struct tenant { struct ask ask; uint64_t pid, ticks; enum stage stage; } tenant[ASKED];
};

static bool is_on(const struct device_counters *d, const struct device_counters *here) {
    return counter_get(&d->uuid_high) == counter_get(&here->uuid_high) && counter_get(&d->uuid_low) == counter_get(&here->uuid_low);
}

/* What the file says is cached on the device, by all contexts of that process. */
static uint64_t cached_there(const struct ask *a, const struct context *c) {
    uint64_t bytes = 0;
    struct device_counters d;
    for (unsigned i = 0; i < COUNTER_DEVICES; i++) {
        if (!ask_read(a, &d, sizeof d, offsetof(struct counters, device) + i * sizeof d) || counter_get(&d.in_use) == 0) break;
        if (!is_on(&d, c->counters)) continue;
        bytes += device_cached(&d);
    }
    return bytes;
}

static bool is_own(const struct folder_file *file) {
    const char *own = strrchr(counters_path(), '/');
    return own && strcmp(own + 1, file->name) == 0;
}

static void consider(const struct folder_file *file, void *with) {
    struct round *r = with;
    if (r->count == ASKED || is_own(file) || is_quiet(file->pid, file->ticks)) return;
    struct tenant *t = &r->tenant[r->count];
    if (ask_open(&t->ask, file->folder, file->name)) return;
    if (!t->ask.listens || cached_there(&t->ask, r->c) == 0) {
        ask_close(&t->ask);
        return;
    }
    t->pid = file->pid, t->ticks = file->ticks, t->stage = TO_ASK;
    r->count++;
}

/* Brings the tenant a step further. Returns what it gave back. */
static uint64_t step(struct round *r, struct tenant *t) {
    struct control_answer answer;
    if (t->stage == TO_ASK) {
        enum ask_sent sent = ask_try(&t->ask, &r->request, r->request.deadline_ns);
        t->stage = sent == ASK_SENT ? TO_ANSWER : sent == ASK_BUSY ? TO_ASK : OVER;
        if (sent == ASK_SENT) counter_add(&r->c->counters->tenant_requests, 1);
    }
    if (t->stage != TO_ANSWER || !ask_answered(&t->ask, &answer)) return 0;
    t->stage = OVER;
    return answer.verdict == CONTROL_DONE ? answer.device_bytes + answer.pool_bytes : 0;
}

static uint64_t until_all_answered(struct round *r) {
    uint64_t given = 0;
    for (;;) {
        unsigned open = 0;
        for (unsigned i = 0; i < r->count; i++) {
            if (r->tenant[i].stage != OVER) given += step(r, &r->tenant[i]);
            open += r->tenant[i].stage != OVER;
        }
        if (open == 0 || control_clock_ns() >= r->request.deadline_ns) return given;
        nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
    }
}

static void end_round(struct round *r) {
    for (unsigned i = 0; i < r->count; i++) {
        struct tenant *t = &r->tenant[i];
        ask_close(&t->ask);
        if (t->stage == OVER) continue;
        leave_alone(t->pid, t->ticks);
        counter_add(&r->c->counters->tenants_silent, 1);
    }
}

static uint64_t ask_all(struct context *c, uint64_t wait_ns) {
    struct round r = { .c = c, .request = { .verb = CONTROL_TRIM, .deadline_ns = control_clock_ns() + wait_ns } };
    r.request.device[0] = counter_get(&c->counters->uuid_high), r.request.device[1] = counter_get(&c->counters->uuid_low);
    for (unsigned place = 0; place < FOLDER_PLACES; place++) folder_visit(place, geteuid(), consider, &r);
    uint64_t given = until_all_answered(&r);
    end_round(&r);
    counter_add(&c->counters->tenant_bytes, given);
    return given;
}

uint64_t tenants_give_back(struct context *c) {
    uint64_t wait_ns = option_number(tenant_wait);
    bool known = counter_get(&c->counters->uuid_high) | counter_get(&c->counters->uuid_low);
    if (wait_ns == 0 || !known) return 0;
    int saved = errno;
    uint64_t given = ask_all(c, wait_ns);
    errno = saved;
    return given;
}

void tenants_fork_child(void) { lock_reset(&quiet_lock); }
