/* control.c: requests that this process is asked; see control.h. */
#include "stats/control.h"
#include "base/text.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct control_acts acts;
static _Atomic bool serving;

void control_acts_are(struct control_acts new_acts) { acts = new_acts; }

uint64_t control_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool refuse(char why[CONTROL_TEXT], const char *what, const char *expected, const char *more) {
    struct text t = text_in(why, CONTROL_TEXT);
    text_add(&t, what), text_add(&t, expected), text_add(&t, more);
    return false;
}

bool control_parse_set(const char *text, int *id, union option_value *value, char why[CONTROL_TEXT]) {
    const char *equals = strchr(text, '=');
    char accepts[160];
    *id = equals ? option_find(text, (size_t)(equals - text)) : -1;
    if (!equals) return refuse(why, text, " wants a value: NAME=VALUE", "");
    if (*id < 0) return refuse(why, text, " is not an option; `coppice options` lists them", "");
    const struct option_row *row = &option_rows[*id];
    if (!row->live)
        return refuse(why, row->name, " is settled when the program starts; `coppice options` says which may be set while it runs", "");
    if (option_parse(row, equals + 1, value)) return true;
    return refuse(why, text, " is not accepted: expected ", option_accepts(row, accepts, sizeof accepts));
}

static uint64_t set(const struct control_request *request, struct control_answer *answer) {
    union option_value value;
    int id;
    if (!control_parse_set(request->text, &id, &value, answer->why)) return CONTROL_REFUSED;
    option_set(id, value);
    if (acts.option_changed) acts.option_changed(id);
    return CONTROL_DONE;
}

static uint64_t act(const struct control_request *request, struct control_answer *answer, bool device_too) {
    switch (request->verb) {
    case CONTROL_TRIM:
        if (acts.trim) acts.trim(request, answer, device_too);
        return CONTROL_DONE;
    case CONTROL_SET: return set(request, answer);
    default: refuse(answer->why, "this version does not know what is asked", "", ""); return CONTROL_REFUSED;
    }
}

static void answer_one(struct control *c, bool device_too) {
    uint64_t number = atomic_load_explicit(&c->number, memory_order_acquire);
    struct control_request request = c->request;
    struct control_answer answer = { 0 };
    request.text[CONTROL_TEXT - 1] = 0;
    bool late = control_clock_ns() > request.deadline_ns;
    if (!late) answer.verdict = act(&request, &answer, device_too);
    counter_add(late ? &c->expired : &c->served, 1);
    c->answer = answer;
    atomic_store_explicit(&c->answered, number, memory_order_release);
}

void control_serve(bool device_too) {
    if (!control_is_asked() || counter_get(&counters->pid) != (uint64_t)getpid() || atomic_exchange(&serving, true)) return;
    int saved = errno;
    if (control_is_asked()) answer_one(&counters->control, device_too);
    errno = saved;
    atomic_store(&serving, false);
}

void control_fork_child(void) { atomic_store(&serving, false); }
