/* folder.h: where counters files lie.
 * A *place* is a folder that may hold ours: $COPPICE_STATE_DIR, /dev/shm, $XDG_RUNTIME_DIR, $TMPDIR, in this order.
 * The *folder* is `coppice-<uid>` in a place. It is ours when it is a real folder, belongs to us and is closed to
 * everybody else; another one is left alone and the next place is tried. */
#ifndef COPPICE_STATS_FOLDER_H
#define COPPICE_STATS_FOLDER_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { FOLDER_PLACES = 4, FOLDER_PATH = 512 };

/* The nth place as an absolute path; false when it is not set or its path is too long. */
bool folder_place(unsigned place, char path[FOLDER_PATH]);
/* The folder of `owner` in it. */
bool folder_path(unsigned place, uid_t owner, char path[FOLDER_PATH]);
/* Opens it (made with mode 0700 when `create`): a descriptor, or a negative errno when there is none that is the owner's. */
int folder_open(const char *path, uid_t owner, bool create);

/* A counters file as its folder names it: `<pid>-<start time>`. */
struct folder_file {
    int folder; /* open */
    const char *path, *name;
    uint64_t pid, ticks;
};
typedef void folder_visitor(const struct folder_file *file, void *with);
/* Calls `visit` for each such name in the folder of `owner` in a place. Allocates. */
void folder_visit(unsigned place, uid_t owner, folder_visitor *visit, void *with);
#endif
