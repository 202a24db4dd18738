/* program.h: can this program be run with a preloaded library?
 * A *program* is what execvp would run for a word. Where the dynamic linker would ignore LD_PRELOAD, or the library
 * could not be loaded into it, the program would run as if Coppice were not there, or die at its start. */
#ifndef COPPICE_CLI_PROGRAM_H
#define COPPICE_CLI_PROGRAM_H
#include <stdbool.h>

/* Finds `word` as execvp does; `path` of 4096 bytes. 0, or an errno: ENOENT when there is none, EACCES when it may not
 * be executed. */
int program_find(const char *word, char *path);
/* Why the program cannot be run with Coppice (in `why`, to be put behind its name), or NULL when it can or is not known. */
const char *program_refuse(const char *path, char *why, unsigned long capacity);
#endif
