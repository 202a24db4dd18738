/* folder.c: the places, and which folder in them is ours; see folder.h. No malloc, but for folder_visit. */
#include "stats/folder.h"
#include "base/options.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *place_name(unsigned place) {
    switch (place) {
    case 0: return option_text(state_dir);
    case 1: return "/dev/shm";
    case 2: return secure_getenv("XDG_RUNTIME_DIR");
    case 3: return secure_getenv("TMPDIR");
    default: return NULL;
    }
}

bool folder_place(unsigned place, char path[FOLDER_PATH]) {
    const char *name = place_name(place);
    if (!name || !*name) return false;
    struct text t = text_in(path, FOLDER_PATH);
    if (*name != '/') { /* the program may go elsewhere before the file is needed again */
        char here[FOLDER_PATH];
        if (!getcwd(here, sizeof here)) return false;
        text_add(&t, here), text_char(&t, '/');
    }
    text_add(&t, name);
    return !t.full;
}

bool folder_path(unsigned place, uid_t owner, char path[FOLDER_PATH]) {
    if (!folder_place(place, path)) return false;
    struct text t = { .bytes = path, .length = strlen(path), .capacity = FOLDER_PATH };
    text_add(&t, "/coppice-"), text_u64(&t, owner);
    return !t.full;
}

int folder_open(const char *path, uid_t owner, bool create) {
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST) return -errno;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct stat s;
    if (fstat(fd, &s) == 0 && s.st_uid == owner && (s.st_mode & 077) == 0) return fd;
    close(fd);
    return -EPERM;
}

/* `<pid>-<start time>` and nothing else. */
static bool parse_name(const char *name, uint64_t *pid, uint64_t *ticks) {
    char *end;
    if (*name < '1' || *name > '9') return false;
    *pid = strtoull(name, &end, 10);
    if (*end != '-' || end[1] < '0' || end[1] > '9') return false;
    *ticks = strtoull(end + 1, &end, 10);
    return *end == 0;
}

void folder_visit(unsigned place, uid_t owner, folder_visitor *visit, void *with) {
    char path[FOLDER_PATH];
    int fd = folder_path(place, owner, path) ? folder_open(path, owner, false) : -1;
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !folder) close(fd);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct folder_file file = { fd, path, entry->d_name, 0, 0 };
        if (parse_name(entry->d_name, &file.pid, &file.ticks)) visit(&file, with);
    }
    if (folder) closedir(folder);
}
