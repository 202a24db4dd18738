/* options_page.c: `coppice options`: the table of options as text, and as the Markdown of docs/OPTIONS.md. */
#include "base/options.h"
#include "cli/cli.h"
#include "stats/dump.h"
#include <stdio.h>
#include <string.h>

/* What a row accepts; two rows of text have a grammar of their own. */
static const char *accepts(int id, char buffer[160]) {
    if (id == OPTION_stats) return DUMP_STATS_ACCEPTS;
    if (id == OPTION_signal) return DUMP_SIGNAL_ACCEPTS;
    return option_accepts(&option_rows[id], buffer, 160);
}

/* A CHOICE's help begins with its choices, which stand in their own column. */
static const char *meaning(const struct option_row *row) {
    const char *colon = row->kind == CHOICE ? strstr(row->help, ": ") : NULL;
    return colon ? colon + 2 : row->help;
}

static const char *standard(const struct option_row *row) { return !row->standard ? "unset" : *row->standard ? row->standard : "empty"; }

/* A table's cell: a bar would end it. */
static void cell(const char *text) {
    for (; *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
}

static void print_markdown(void) {
    char buffer[160];
    puts("# Options of Coppice\n\n"
         "Made by `coppice options --markdown` from `src/base/options.def`; a test compares the two.\n"
         "Each is an environment variable, and `coppice run` takes it as `--name=value` (`--pool-max=512M`).\n"
         "`coppice set PID NAME=VALUE` changes those that may be set while the process runs.\n"
         "A value that is not accepted is reported in one line on standard error, and the default is used.\n\n"
         "| variable | default | accepts | meaning |\n|---|---|---|---|");
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option_row *row = &option_rows[id];
        printf("| `" OPTION_PREFIX "%s` | %s | ", row->name, standard(row));
        cell(accepts(id, buffer)), fputs(" | ", stdout), cell(meaning(row)), puts(row->live ? "; may be set while it runs |" : " |");
    }
}

static void print_text(void) {
    char buffer[160];
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option_row *row = &option_rows[id];
        printf(OPTION_PREFIX "%s (default: %s)\n    accepts %s\n    %s%s\n", row->name, standard(row), accepts(id, buffer), meaning(row),
               row->live ? "; may be set while it runs" : "");
    }
}

int command_options(int count, char **words) {
    if (count > 2 || (count == 2 && strcmp(words[1], "--markdown") != 0))
        return complain(MISUSE, "options: %s is not expected: coppice options [--markdown]", words[count > 2 ? 2 : 1]);
    if (count == 2) print_markdown();
    else print_text();
    return OK;
}
