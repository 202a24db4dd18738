/* folder.h: where counters files lie.
 * A *place* is a folder that may hold ours: $COPPICE_STATE_DIR, /dev/shm, $XDG_RUNTIME_DIR, $TMPDIR, in this order.
 * The *folder* is `coppice-<uid>` in a place. It is ours when it is a real folder, belongs to us and is closed to
 * everybody else; another one is left alone and the next place is tried. */
#ifndef COPPICE_STATS_FOLDER_H
#define COPPICE_STATS_FOLDER_H
#include <stdbool.h>
#include <stdint.h>

enum { FOLDER_PLACES = 4, FOLDER_PATH = 512 };

/* The folder in the nth place, as an absolute path; false when that place is not set or its path is too long. */
bool folder_path(unsigned place, char path[FOLDER_PATH]);
/* Opens it (made with mode 0700 when `create`): a descriptor, or a negative errno when there is none that is ours. */
int folder_open(const char *path, bool create);
#endif
