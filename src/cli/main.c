/* main.c: which command, and what can be said before one is chosen. */
#include "base/log.h"
#include "base/options.h"
#include "base/version.h"
#include "cli/cli.h"
#include "cli/records.h"
#include <stdio.h>
#include <string.h>

const char tool_name[] = "coppice";

static const char usage[] =
    "coppice run [--OPTION=VALUE…] [--intern-params] -- COMMAND…  run a program with Coppice preloaded\n"
    "coppice stat PID|FILE [--text|--json]      the statistics of a process, running or killed\n"
    "coppice trim PID [--wait=TIME]             a running process gives back what it has cached\n"
    "coppice set PID NAME=VALUE… [--wait=TIME]  changes options of a running process\n"
    "coppice options [--markdown]               the options, as environment variables and for run\n"
    "coppice --version\n"
    "coppice --help\n";

static int command_help(int count, char **words) {
    (void)count, (void)words;
    fputs(usage, stdout);
    return OK;
}

static int command_version(int count, char **words) {
    (void)count, (void)words;
    puts("coppice " COPPICE_VERSION);
    return OK;
}

static const struct {
    const char *word;
    int (*run)(int count, char **words);
} commands[] = {
    { "run", command_run },       { "stat", command_stat },   { "options", command_options },
    { "trim", command_trim },     { "set", command_set },
    { "--help", command_help },   { "-h", command_help },     { "help", command_help },
    { "--version", command_version },
};

/* The status of a command whose output could not be written is not 0. */
static int finish(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    return complain(status ? status : NOTHING, "cannot write to standard output");
}

int main(int count, char **words) {
    log_silence(); /* what is wrong in the environment is for the library to say, where it matters */
    options_load();
    records_clean();
    if (count < 2) {
        fputs(usage, stderr);
        return MISUSE;
    }
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(words[1], commands[i].word) == 0) return finish(commands[i].run(count - 1, words + 1));
    return complain(MISUSE, "no command %s; `coppice --help` lists them", words[1]);
}
