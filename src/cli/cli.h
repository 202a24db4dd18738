/* cli.h: the `coppice` program. A *command* is a word and a function that gets the arguments from that word on and
 * returns the exit status. Mistakes are said in one line on standard error that begins with "coppice: ".
 * Exit status: 0, 1 (no such statistics, no answer), 2 (a wrong argument); `run` ends with the command's own, or as nohup and
 * env do: 125 (our own trouble), 126 (found but cannot be run with Coppice), 127 (not found). */
#ifndef COPPICE_CLI_CLI_H
#define COPPICE_CLI_CLI_H
#include "tool/tool.h"
#include <stdbool.h>

enum { OK = 0, NOTHING = 1, MISUSE = 2, TROUBLE = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

int command_run(int count, char **words);
int command_stat(int count, char **words);
int command_trim(int count, char **words);
int command_set(int count, char **words);
int command_options(int count, char **words);
#endif
