/* capacity.c: see capacity.h. Inside a container the group's path may be one that only the outside knows: then the files
 * at the mount itself are ours, and they are looked at in any case, being the last on the way up. */
#include "base/capacity.h"
#include "base/sys.h"
#include "base/text.h"
#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>

enum { PATH = 1024 };

/* "max", nothing, or a number; version 1 says "none" by a number that no machine has. */
static uint64_t limit_in(const char *folder, const char *file) {
    char path[PATH + 64], text[64];
    struct text t = text_in(path, sizeof path);
    text_add(&t, folder), text_char(&t, '/'), text_add(&t, file);
    if (t.full || sys_read_file(path, text, sizeof text) <= 0 || *text < '0' || *text > '9') return UINT64_MAX;
    uint64_t limit = 0;
    for (const char *at = text; *at >= '0' && *at <= '9' && limit < UINT64_MAX / 16; at++) limit = limit * 10 + (uint64_t)(*at - '0');
    return limit;
}

/* The least limit of a group and of those above it, up to the mount. */
static uint64_t least_above(const char *mount, const char *group, size_t length, const char *file) {
    char folder[PATH];
    struct text t = text_in(folder, sizeof folder);
    const size_t top = strlen(mount);
    uint64_t least = UINT64_MAX;
    text_add(&t, mount);
    for (size_t i = 0; i < length; i++) text_char(&t, group[i]);
    for (size_t end = t.full ? top : t.length;;) {
        folder[end] = 0;
        uint64_t limit = limit_in(folder, file);
        if (limit < least) least = limit;
        if (end <= top) return least;
        while (end > top && folder[end - 1] != '/') end--;
        if (end > top) end--;
    }
}

/* Lines `0::/path` (version 2) and `N:controller,…:/path` (version 1). */
uint64_t capacity_of_groups(const char *mount, const char *groups) {
    uint64_t least = UINT64_MAX;
    char memory[PATH];
    struct text t = text_in(memory, sizeof memory);
    text_add(&t, mount), text_add(&t, "/memory");
    for (const char *line = groups; *line;) {
        const size_t length = strcspn(line, "\n");
        const char *names = memchr(line, ':', length), *path = names ? memchr(names + 1, ':', length - (size_t)(names + 1 - line)) : NULL;
        if (path) {
            const size_t rest = length - (size_t)(path + 1 - line), named = (size_t)(path - names - 1);
            uint64_t limit = UINT64_MAX;
            if (named == 0) limit = least_above(mount, path + 1, rest, "memory.max");
            else if (memmem(names + 1, named, "memory", 6)) limit = least_above(memory, path + 1, rest, "memory.limit_in_bytes");
            if (limit < least) least = limit;
        }
        line += length + (line[length] == '\n');
    }
    return least;
}

uint64_t capacity_of_host(void) {
    char groups[4096];
    struct sysinfo machine;
    int saved = errno;
    uint64_t all = sysinfo(&machine) == 0 ? (uint64_t)machine.totalram * machine.mem_unit : UINT64_MAX;
    uint64_t limit = sys_read_file("/proc/self/cgroup", groups, sizeof groups) > 0 ? capacity_of_groups("/sys/fs/cgroup", groups) : UINT64_MAX;
    errno = saved;
    return limit < all ? limit : all;
}
