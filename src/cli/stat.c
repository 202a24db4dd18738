/* stat.c: `coppice stat PID|FILE`: the dump of a process that runs, ended or was killed, from its counters file. */
#include "cli/cli.h"
#include "cli/records.h"
#include "stats/dump.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_pid(const char *word, int *pid) {
    if (strspn(word, "0123456789") != strlen(word) || !*word) return false;
    unsigned long n = strtoul(word, NULL, 10);
    *pid = n > INT_MAX ? INT_MAX : (int)n;
    return true;
}

static int show(const char *who, enum stats_format format) {
    static struct record record;
    static char path[4096], buffer[DUMP_CAPACITY];
    int pid;
    bool by_pid = is_pid(who, &pid);
    const char *wrong = by_pid ? record_find(pid, path, &record) : record_read(who, &record);
    if (wrong) return complain(NOTHING, "%s%s %s", by_pid && !path[0] ? "process " : "", by_pid && path[0] ? path : who, wrong);
    struct text dump = text_in(buffer, sizeof buffer);
    dump_counters(&record.counters, format, record.alive, &dump);
    fputs(buffer, stdout);
    return OK;
}

int command_stat(int count, char **words) {
    enum stats_format format = STATS_TEXT;
    const char *who = NULL;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--json") == 0) format = STATS_JSON;
        else if (strcmp(words[i], "--text") == 0) format = STATS_TEXT;
        else if (words[i][0] == '-' || who) return complain(MISUSE, "stat: %s is not expected: coppice stat PID|FILE [--text|--json]", words[i]);
        else who = words[i];
    }
    return who ? show(who, format) : complain(MISUSE, "stat: which process? coppice stat PID|FILE [--text|--json]");
}
