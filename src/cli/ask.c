/* ask.c: `coppice trim PID` and `coppice set PID NAME=VALUE…`: requests to a running process, and its answer in words. */
#include "stats/ask.h"
#include "base/options.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/records.h"
#include "stats/control.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS 5000000000u

static bool parse_pid(const char *word, int *pid) {
    unsigned long n = strtoul(word, NULL, 10);
    if (!*word || strspn(word, "0123456789") != strlen(word) || n == 0) return false;
    *pid = n > INT_MAX ? INT_MAX : (int)n;
    return true;
}

/* Why a process may have nothing to say. */
static const char *excuse(const struct ask *a) {
    return a->listens ? "it may be stopped, or busy giving memory back" :
                        "it has not used the device, so it looks for requests only when it allocates host memory";
}

/* Asks and waits; an exit status, with what is wrong said already. */
static int ask(const char *command, int pid, struct control_request *request, uint64_t patience_ns, struct control_answer *answer) {
    static struct record record;
    static char path[4096];
    struct ask a;
    const char *wrong = record_find(pid, path, &record);
    if (!path[0]) return complain(NOTHING, "%s: process %d %s", command, pid, wrong);
    if (!wrong) wrong = ask_open(&a, AT_FDCWD, path);
    if (wrong) return complain(NOTHING, "%s: process %d %s", command, pid, wrong);
    const uint64_t deadline = control_clock_ns() + patience_ns;
    enum ask_sent sent = ask_send(&a, request, deadline);
    wrong = sent == ASK_SENT ? ask_wait(&a, answer) :
            sent == ASK_BUSY ? "is still busy with somebody else's request" : "cannot be asked: its counters file is closed to us";
    ask_close(&a);
    if (!wrong) return OK;
    if (strcmp(wrong, "does not answer") != 0) return complain(NOTHING, "%s: process %d %s", command, pid, wrong);
    return complain(NOTHING, "%s: process %d does not answer within %.3g s: %s", command, pid, (double)patience_ns * 1e-9, excuse(&a));
}

static void say_size(const char *before, uint64_t bytes, const char *what) {
    char buffer[64];
    struct text t = text_in(buffer, sizeof buffer);
    text_size(&t, bytes);
    printf("%s%s %s", before, buffer, what);
}

/* --wait=TIME, the one option of both. */
static bool parse_wait(const char *word, uint64_t *patience_ns) {
    return strncmp(word, "--wait=", 7) == 0 && parse_time(word + 7, patience_ns) && *patience_ns > 0 && *patience_ns <= 3600000000000u;
}

int command_trim(int count, char **words) {
    struct control_request request = { .verb = CONTROL_TRIM };
    struct control_answer answer;
    uint64_t patience = PATIENCE_NS;
    int pid = 0;
    for (int i = 1; i < count; i++)
        if (!parse_wait(words[i], &patience) && (pid || !parse_pid(words[i], &pid)))
            return complain(MISUSE, "trim: %s is not expected: coppice trim PID [--wait=TIME]", words[i]);
    if (!pid) return complain(MISUSE, "trim: which process? coppice trim PID [--wait=TIME]");
    int status = ask("trim", pid, &request, patience, &answer);
    if (status) return status;
    printf("process %d gave back", pid);
    say_size(" ", answer.device_bytes, "of device memory");
    if (answer.pool_bytes) say_size(", ", answer.pool_bytes, "of the driver's pools");
    if (answer.pinned_bytes) say_size(", ", answer.pinned_bytes, "of pinned host memory");
    say_size(" and ", answer.host_bytes, "of the heap\n");
    return OK;
}

static int set_one(int pid, const char *word, uint64_t patience) {
    struct control_request request = { .verb = CONTROL_SET };
    struct control_answer answer;
    struct text t = text_in(request.text, sizeof request.text);
    text_add(&t, word);
    int status = ask("set", pid, &request, patience, &answer);
    if (status) return status;
    if (answer.verdict != CONTROL_DONE) return complain(NOTHING, "set: process %d: %s", pid, answer.why);
    int id = option_find(word, strcspn(word, "="));
    printf("process %d: %s is %s now\n", pid, option_rows[id].name, strchr(word, '=') + 1);
    return OK;
}

int command_set(int count, char **words) {
    union option_value value;
    char why[CONTROL_TEXT];
    uint64_t patience = PATIENCE_NS;
    int pid = 0, given = 0, id, status = OK;
    for (int i = 1; i < count; i++) {
        if (parse_wait(words[i], &patience)) continue;
        if (!pid && parse_pid(words[i], &pid)) continue;
        if (!pid || words[i][0] == '-') return complain(MISUSE, "set: %s is not expected: coppice set PID NAME=VALUE… [--wait=TIME]", words[i]);
        if (!control_parse_set(words[i], &id, &value, why)) return complain(MISUSE, "set: %s", why);
        given++;
    }
    if (!pid || !given) return complain(MISUSE, "set: %s? coppice set PID NAME=VALUE… [--wait=TIME]", pid ? "which option" : "which process");
    for (int i = 1; i < count && !status; i++)
        if (strchr(words[i], '=') && strncmp(words[i], "--wait=", 7) != 0) status = set_one(pid, words[i], patience);
    return status;
}
