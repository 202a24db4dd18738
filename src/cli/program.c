/* program.c: finding a program and reading its first bytes; see program.h. Follows `#!` one level, through env. */
#include "cli/program.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PATH_CAPACITY = 4096, HEADERS = 64 };

static int executable(const char *path) {
    struct stat s;
    if (stat(path, &s) != 0) return errno;
    return S_ISREG(s.st_mode) && access(path, X_OK) == 0 ? 0 : EACCES;
}

int program_find(const char *word, char *path) {
    int status = ENOENT;
    if (strchr(word, '/') || !*word) {
        snprintf(path, PATH_CAPACITY, "%s", word);
        return executable(path);
    }
    const char *folders = getenv("PATH");
    if (!folders) folders = "/bin:/usr/bin";
    for (const char *at = folders;; at++) {
        size_t n = strcspn(at, ":");
        snprintf(path, PATH_CAPACITY, "%.*s%s%s", (int)n, at, n ? "/" : "./", word);
        int error = executable(path);
        if (error == 0) return 0;
        if (error == EACCES) status = EACCES;
        at += n;
        if (!*at) return status;
    }
}

/* --- ELF */

struct elf {
    int fd;
    Elf64_Ehdr head;
    bool has_interpreter, has_dynamic, is_pie;
    char interpreter[256];
};

static void read_dynamic(struct elf *e, const Elf64_Phdr *segment) {
    Elf64_Dyn entry;
    for (uint64_t at = 0; at + sizeof entry <= segment->p_filesz && at < 1 << 16; at += sizeof entry) {
        if (pread(e->fd, &entry, sizeof entry, (off_t)(segment->p_offset + at)) != (ssize_t)sizeof entry || entry.d_tag == DT_NULL) return;
        if (entry.d_tag == DT_FLAGS_1 && (entry.d_un.d_val & DF_1_PIE)) e->is_pie = true;
    }
}

static void read_segments(struct elf *e) {
    Elf64_Phdr segment;
    for (int i = 0; i < e->head.e_phnum && i < HEADERS; i++) {
        off_t at = (off_t)(e->head.e_phoff + (uint64_t)i * e->head.e_phentsize);
        if (pread(e->fd, &segment, sizeof segment, at) != (ssize_t)sizeof segment) return;
        if (segment.p_type == PT_DYNAMIC) e->has_dynamic = true, read_dynamic(e, &segment);
        if (segment.p_type != PT_INTERP) continue;
        size_t n = segment.p_filesz < sizeof e->interpreter - 1 ? segment.p_filesz : sizeof e->interpreter - 1;
        ssize_t got = pread(e->fd, e->interpreter, n, (off_t)segment.p_offset);
        e->interpreter[got > 0 ? got : 0] = 0;
        e->has_interpreter = true;
    }
}

static bool read_elf(int fd, struct elf *e) {
    *e = (struct elf){ .fd = fd };
    if (pread(fd, &e->head, sizeof e->head, 0) != (ssize_t)sizeof e->head || memcmp(e->head.e_ident, ELFMAG, SELFMAG) != 0) return false;
    if (e->head.e_ident[EI_CLASS] == ELFCLASS64) read_segments(e);
    return true;
}

/* The class and machine that the library has are those of this program. */
static bool same_machine(const Elf64_Ehdr *head) {
    Elf64_Ehdr own = { 0 };
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool read_it = fd >= 0 && pread(fd, &own, sizeof own, 0) == (ssize_t)sizeof own;
    if (fd >= 0) close(fd);
    return !read_it || (own.e_ident[EI_CLASS] == head->e_ident[EI_CLASS] && own.e_ident[EI_DATA] == head->e_ident[EI_DATA] && own.e_machine == head->e_machine);
}

static const char *refuse_elf(const struct elf *e) {
    static const struct { const char *part, *why; } foreign[] = {
        { "ld-musl", "is linked against musl; Coppice is built for glibc and would stop it from starting" },
        { "ld-uClibc", "is linked against uClibc; Coppice is built for glibc and would stop it from starting" },
        { "/system/bin/linker", "is an Android program; Coppice is built for glibc and would stop it from starting" },
    };
    if (!same_machine(&e->head)) return "is for another kind of processor than Coppice";
    /* without an interpreter: a static program, or the dynamic linker itself, which does preload */
    if (!e->has_interpreter && (!e->has_dynamic || e->is_pie)) return "is statically linked; nothing can be preloaded into it";
    for (unsigned i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (strstr(e->interpreter, foreign[i].part)) return foreign[i].why;
    return NULL;
}

static const char *refuse_privileged(int fd) {
    struct stat s;
    if (fstat(fd, &s) == 0 && (s.st_mode & S_ISUID)) return "is setuid; the dynamic linker ignores LD_PRELOAD for it";
    if (fstat(fd, &s) == 0 && (s.st_mode & S_ISGID) && (s.st_mode & S_IXGRP)) return "is setgid; the dynamic linker ignores LD_PRELOAD for it";
    if (fgetxattr(fd, "security.capability", NULL, 0) > 0) return "has file capabilities; the dynamic linker ignores LD_PRELOAD for it";
    return NULL;
}

/* --- scripts */

static bool is_env(const char *path) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, "env") == 0;
}

/* The program that runs a script: the word behind `#!`, or what env would find; empty when it cannot be told. */
static void interpreter_of(char *line, char *path) {
    char *rest = line, *word = strsep(&rest, " \t");
    snprintf(path, PATH_CAPACITY, "%s", word);
    if (!is_env(word)) return;
    while (rest && (word = strsep(&rest, " \t")))
        if (*word && *word != '-' && !strchr(word, '=')) {
            if (program_find(word, path) != 0) path[0] = 0;
            return;
        }
}

/* The script's first line without `#!` and blanks around it; false when the file is not a script. */
static bool script_line(int fd, char *line, size_t capacity) {
    char start[256];
    ssize_t n = pread(fd, start, sizeof start - 1, 0);
    if (n < 3 || start[0] != '#' || start[1] != '!') return false;
    start[n] = 0;
    start[strcspn(start, "\n")] = 0;
    const char *first = start + 2 + strspn(start + 2, " \t");
    snprintf(line, capacity, "%s", first);
    return true;
}

static const char *refuse_file(const char *path, bool may_be_script, char *why, unsigned long capacity) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return NULL; /* may be executed though not read: let it run */
    struct elf e;
    char line[256], interpreter[PATH_CAPACITY];
    const char *reason = refuse_privileged(fd);
    if (!reason && read_elf(fd, &e)) reason = refuse_elf(&e);
    bool script = !reason && may_be_script && script_line(fd, line, sizeof line);
    close(fd);
    if (reason) {
        snprintf(why, capacity, "%s", reason);
        return why;
    }
    if (!script) return NULL;
    interpreter_of(line, interpreter);
    const char *below = refuse_file(interpreter, false, why, capacity);
    if (!below) return NULL;
    char copy[512];
    snprintf(copy, sizeof copy, "%s", below);
    snprintf(why, capacity, "is a script for %s, which %s", interpreter, copy);
    return why;
}

const char *program_refuse(const char *path, char *why, unsigned long capacity) { return refuse_file(path, true, why, capacity); }
