/* parse.c: see parse.h. Lines of the two files that place a group:
 *   cgroup      5:memory,hugetlb:/path        (version 1)        0::/path   (version 2)
 *   mountinfo   31 23 0:27 /root /mount rw,… shared:9 - cgroup cgroup rw,memory      (fields of any number before the dash) */
#include "pressure/parse.h"
#include <string.h>

struct slice { const char *at; size_t length; };

static bool slice_is(struct slice s, const char *word) { return s.length == strlen(word) && memcmp(s.at, word, s.length) == 0; }

/* The next piece of *rest up to `end`; *rest goes behind it. */
static struct slice next_piece(struct slice *rest, char end) {
    const char *stop = rest->length ? memchr(rest->at, end, rest->length) : NULL;
    struct slice piece = { rest->at, stop ? (size_t)(stop - rest->at) : rest->length };
    size_t used = piece.length + (stop != NULL);
    rest->at += used, rest->length -= used;
    return piece;
}

static bool has_word(struct slice list, const char *word) {
    while (list.length) if (slice_is(next_piece(&list, ','), word)) return true;
    return false;
}

/* Mount points are written with blanks and backslashes as \ooo. */
static void add_path(struct text *t, struct slice s) {
    for (size_t i = 0; i < s.length; i++) {
        bool octal = s.at[i] == '\\' && s.length - i > 3;
        text_char(t, octal ? (char)((s.at[i + 1] - '0') * 64 + (s.at[i + 2] - '0') * 8 + (s.at[i + 3] - '0')) : s.at[i]);
        if (octal) i += 3;
    }
}

static bool find_path(const char *cgroup, enum group_version version, struct slice *path) {
    struct slice file = { cgroup, strlen(cgroup) };
    while (file.length) {
        struct slice line = next_piece(&file, '\n'), number = next_piece(&line, ':'), controllers = next_piece(&line, ':');
        if (line.length == 0 || *line.at != '/') continue;
        *path = line;
        if (version == GROUP_V1 ? has_word(controllers, "memory") : slice_is(number, "0") && controllers.length == 0) return true;
    }
    return false;
}

static bool find_mount(const char *mountinfo, enum group_version version, struct slice *root, struct slice *mount) {
    struct slice file = { mountinfo, strlen(mountinfo) };
    while (file.length) {
        struct slice line = next_piece(&file, '\n'), field = { 0 };
        for (int i = 0; i < 3; i++) next_piece(&line, ' ');
        *root = next_piece(&line, ' '), *mount = next_piece(&line, ' ');
        while (line.length && !slice_is(field, "-")) field = next_piece(&line, ' ');
        struct slice type = next_piece(&line, ' ');
        next_piece(&line, ' ');
        if (mount->length == 0) continue;
        if (version == GROUP_V1 ? slice_is(type, "cgroup") && has_word(line, "memory") : slice_is(type, "cgroup2")) return true;
    }
    return false;
}

bool parse_group_folder(const char *cgroup, const char *mountinfo, enum group_version version, struct text *folder) {
    struct slice path, root, mount;
    if (!find_path(cgroup, version, &path) || !find_mount(mountinfo, version, &root, &mount)) return false;
    add_path(folder, mount);
    /* what is mounted may be a part of the tree: then the path begins with its root, or lies outside (the mount is all we see) */
    if (root.length == 1) root.length = 0;
    if (path.length < root.length || memcmp(path.at, root.at, root.length) != 0) return !folder->full;
    path.at += root.length, path.length -= root.length;
    if (path.length > 1) add_path(folder, path);
    return !folder->full;
}

static bool digits(const char *s, uint64_t *number) {
    if (*s < '0' || *s > '9') return false;
    for (*number = 0; *s >= '0' && *s <= '9'; s++) {
        if (*number > (UINT64_MAX - 9) / 10) return false;
        *number = *number * 10 + (uint64_t)(*s - '0');
    }
    return true;
}

bool parse_number(const char *file, uint64_t *number) { return digits(file, number); }

bool parse_key(const char *file, const char *key, uint64_t *number) {
    size_t length = strlen(key);
    for (const char *line = file; line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, key, length) != 0 || (line[length] != ' ' && line[length] != ':')) continue;
        line += length + (line[length] == ':');
        return digits(line + strspn(line, " \t"), number);
    }
    return false;
}

bool parse_stall(const char *file, uint64_t *microseconds) {
    if (strncmp(file, "some ", 5) != 0) return false;
    const char *total = strstr(file, "total="), *end = strchr(file, '\n');
    return total && (!end || total < end) && digits(total + 6, microseconds);
}
