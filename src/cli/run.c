/* run.c: `coppice run [--OPTION=VALUE…] [--intern-params] -- COMMAND…`: the command with the library preloaded and its options set, and
 * with --intern-params every Python in it interning its sampling parameters (python/coppice_params.py).
 * The process becomes the command (execvp), so its pid, its signals and its exit status are the command's own. */
#include "base/options.h"
#include "cli/cli.h"
#include "cli/program.h"
#include "stats/dump.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- options on the command line */

/* What the library would complain about is refused here, before anything runs. NULL when the value is accepted. */
static const char *expected(int id, const char *value, char buffer[160]) {
    union option_value parsed;
    struct dump_triggers triggers;
    if (!option_parse(&option_rows[id], value, &parsed)) return option_accepts(&option_rows[id], buffer, 160);
    if (id == OPTION_stats && dump_parse_stats(value, &triggers)) return DUMP_STATS_ACCEPTS;
    if (id == OPTION_signal && dump_parse_signal(value, &triggers.signal_number)) return DUMP_SIGNAL_ACCEPTS;
    return NULL;
}

/* `word` is --NAME=VALUE. */
static int set_option(const char *word) {
    const char *name = word + 2, *equals = strchr(name, '=');
    int id = option_find(name, equals ? (size_t)(equals - name) : strlen(name));
    if (id < 0) return complain(MISUSE, "run: %s is not an option; `coppice options` lists them", word);
    char variable[64], buffer[160];
    snprintf(variable, sizeof variable, OPTION_PREFIX "%s", option_rows[id].name);
    if (!equals) return complain(MISUSE, "run: %s wants a value: %s=…", word, word);
    const char *wants = expected(id, equals + 1, buffer);
    if (wants) return complain(MISUSE, "run: %s (%s) is not accepted: expected %s", word, variable, wants);
    return setenv(variable, equals + 1, 1) == 0 ? OK : complain(TROUBLE, "run: %s", strerror(errno));
}

/* --- the library, and what belongs to it */

static bool find_library(char *path) { return find_beside((const char *const[]){ "libcoppice.so", "../lib/coppice/libcoppice.so" }, path); }

/* Python looks for sitecustomize there first, and for our modules one folder above. */
static int add_python_path(void) {
    char start[PATH_MAX], *value = NULL;
    const char *others = getenv("PYTHONPATH");
    if (!find_beside((const char *const[]){ "../python/autostart", "../share/coppice/autostart" }, start))
        return complain(TROUBLE, "run: --intern-params: coppice_params.py is neither in ../python nor in ../share/coppice");
    int modules = (int)(strrchr(start, '/') - start);
    if (others && strncmp(others, start, strlen(start)) == 0) return OK;
    if (asprintf(&value, "%s:%.*s%s%s", start, modules, start, others && *others ? ":" : "", others ? others : "") < 0 || setenv("PYTHONPATH", value, 1) != 0)
        return complain(TROUBLE, "run: %s", strerror(errno));
    free(value);
    return OK;
}

/* First in LD_PRELOAD; what is there stays, once. */
static int preload(const char *library) {
    const char *others = getenv("LD_PRELOAD");
    size_t length = strlen(library);
    if (strpbrk(library, ": ")) return complain(TROUBLE, "run: %s cannot be preloaded: LD_PRELOAD separates names by blanks and colons", library);
    bool there = others && strncmp(others, library, length) == 0 && strchr(": ", others[length]); /* strchr finds the end, too */
    if (there) return OK;
    char *value = NULL;
    if (asprintf(&value, "%s%s%s", library, others && *others ? ":" : "", others ? others : "") < 0 || setenv("LD_PRELOAD", value, 1) != 0)
        return complain(TROUBLE, "run: %s", strerror(errno));
    free(value);
    return OK;
}

static int execute(char **command) {
    char path[PATH_MAX], why[1024], library[PATH_MAX];
    int error = program_find(command[0], path);
    if (error) return complain(error == ENOENT || error == ENOTDIR ? NOT_FOUND : CANNOT_RUN, "run: %s: %s", command[0], strerror(error));
    if (program_refuse(path, why, sizeof why)) return complain(CANNOT_RUN, "run: %s %s", path, why);
    if (!find_library(library)) return complain(TROUBLE, "run: libcoppice.so is neither beside this program nor in ../lib/coppice");
    int status = preload(library);
    if (status) return status;
    setenv("COPPICE_STATS", "exit,signal", 0);
    execvp(command[0], command);
    return complain(errno == ENOENT ? NOT_FOUND : CANNOT_RUN, "run: %s: %s", command[0], strerror(errno));
}

int command_run(int count, char **words) {
    int i = 1;
    for (; i < count && words[i][0] == '-'; i++) {
        if (strcmp(words[i], "--") == 0) {
            i++;
            break;
        }
        if (words[i][1] != '-') return complain(MISUSE, "run: %s is not expected: coppice run [--OPTION=VALUE…] [--intern-params] -- COMMAND…", words[i]);
        int status = strcmp(words[i], "--intern-params") == 0 ? add_python_path() : set_option(words[i]);
        if (status) return status;
    }
    if (i >= count) return complain(MISUSE, "run: which command? coppice run [--OPTION=VALUE…] [--intern-params] -- COMMAND…");
    return execute(words + i);
}
