/* triggers.c: COPPICE_STATS and COPPICE_SIGNAL: when this process writes its statistics; see dump.h. */
#include "base/log.h"
#include "stats/dump.h"
#include "stats/target.h"
#include <signal.h>
#include <string.h>

/* Signals that a program can do without: not those that stop, kill, trap or tell of children. */
static const struct { const char *name; int number; } signals[] = {
    { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "HUP", SIGHUP },   { "WINCH", SIGWINCH },   { "URG", SIGURG },
    { "IO", SIGIO },     { "PWR", SIGPWR },   { "PROF", SIGPROF }, { "VTALRM", SIGVTALRM }, { "XCPU", SIGXCPU },
};
enum { SIGNALS = sizeof signals / sizeof *signals };

/* A whole decimal number of at most four digits, or -1. */
static int small_number(const char *text) {
    int n = 0, digits = 0;
    for (; *text >= '0' && *text <= '9' && digits < 4; text++, digits++) n = n * 10 + (*text - '0');
    return *text || digits == 0 ? -1 : n;
}

static int signal_number(const char *text) {
    if (strncmp(text, "SIG", 3) == 0) text += 3;
    int n = small_number(text);
    for (int i = 0; i < SIGNALS; i++)
        if (strcmp(text, signals[i].name) == 0 || n == signals[i].number) return signals[i].number;
    if (strncmp(text, "RTMIN", 5) == 0) n = text[5] == 0 ? SIGRTMIN : text[5] == '+' && small_number(text + 6) >= 0 ? SIGRTMIN + small_number(text + 6) : -1;
    if (strncmp(text, "RTMAX", 5) == 0) n = text[5] == 0 ? SIGRTMAX : text[5] == '-' && small_number(text + 6) >= 0 ? SIGRTMAX - small_number(text + 6) : -1;
    return n >= SIGRTMIN && n <= SIGRTMAX ? n : -1;
}

const char *dump_parse_signal(const char *text, int *number) {
    int n = *text ? signal_number(text) : 0; /* empty: none */
    if (n >= 0) *number = n;
    return n >= 0 ? NULL : text;
}

/* One part of the list; false when it is not understood. */
static bool parse_part(const char *part, struct dump_triggers *t) {
    uint64_t ns;
    if (strcmp(part, "exit") == 0) t->exit = true;
    else if (strcmp(part, "signal") == 0) t->signal = true;
    else if (parse_time(part, &ns) && ns >= 10000000) t->interval_ns = ns;
    else return false;
    return true;
}

const char *dump_parse_stats(const char *text, struct dump_triggers *t) {
    const char *wrong = NULL;
    char part[64];
    while (*text) {
        size_t n = strcspn(text, ","), blanks = strspn(text, " ");
        if (blanks < n) {
            size_t length = n - blanks;
            while (text[blanks + length - 1] == ' ') length--;
            bool fits = length < sizeof part;
            memcpy(part, text + blanks, fits ? length : 0);
            part[fits ? length : 0] = 0;
            if ((!fits || !parse_part(part, t)) && !wrong) wrong = text + blanks;
        }
        text += n + (text[n] == ',');
    }
    return wrong;
}

static void load(struct dump_triggers *t) {
    const char *stats = option_text(stats), *signal = option_text(signal);
    if (!signal) return; /* the options were never loaded */
    t->explicit_signal = stats != NULL;
    t->signal = stats == NULL;
    if (stats && dump_parse_stats(stats, t))
        log_line(OPTION_PREFIX "STATS=", stats, " is not accepted: expected " DUMP_STATS_ACCEPTS "; using the parts that are", NULL);
    const char *standard = option_rows[OPTION_signal].standard;
    dump_parse_signal(standard, &t->signal_number);
    if (dump_parse_signal(signal, &t->signal_number))
        log_line(OPTION_PREFIX "SIGNAL=", signal, " is not accepted: expected " DUMP_SIGNAL_ACCEPTS "; using ", standard, NULL);
    if (t->signal_number == 0) t->signal = false;
    if (!t->signal) t->signal_number = 0;
    target_settle();
}

const struct dump_triggers *dump_triggers(void) {
    static struct dump_triggers triggers;
    static bool loaded;
    if (!loaded && !options_off()) load(&triggers);
    loaded = true;
    return &triggers;
}
