/* sealed.c: see sealed.h. */
#include "intern/sealed.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BATCH = 16, ABOVE = 512 };
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

uint64_t sealed_hash(const void *page) { return XXH3_64bits(page, SEALED_PAGE); }

/* Out of the way of programs that count on low numbers, or close them. */
static void move_up(struct sealed *s) {
    int high = fcntl(s->fd, F_DUPFD_CLOEXEC, ABOVE);
    if (high < 0) return;
    close(s->fd);
    s->fd = high;
}

static bool map(struct sealed *s) {
    struct stat file;
    move_up(s);
    if (fstat(s->fd, &file) != 0) return false;
    s->inode = file.st_ino;
    void *at = mmap(NULL, sealed_length(s->pages), PROT_READ, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
    if (at == MAP_FAILED) return false;
    s->content = at;
    s->hash = (const uint64_t *)(const void *)(s->content + (size_t)s->pages * SEALED_PAGE);
    return true;
}

static bool write_at(int fd, const void *bytes, size_t length, size_t offset) {
    ssize_t n;
    do n = pwrite(fd, bytes, length, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)length;
}

/* Page by page, because some may have gone: those become pages of zeros, equal to no candidate. */
static bool fill(int fd, int memory, const uintptr_t *at, uint32_t pages) {
    static _Thread_local char page[SEALED_PAGE];
    uint64_t hash[BATCH];
    for (uint32_t i = 0; i < pages; i++) {
        if (pread(memory, page, SEALED_PAGE, (off_t)at[i]) != SEALED_PAGE) memset(page, 0, SEALED_PAGE);
        if (!write_at(fd, page, SEALED_PAGE, (size_t)i * SEALED_PAGE)) return false;
        hash[i % BATCH] = sealed_hash(page);
        size_t first = i - i % BATCH, count = i - first + 1;
        if ((count == BATCH || i + 1 == pages) && !write_at(fd, hash, count * sizeof *hash, (size_t)pages * SEALED_PAGE + first * sizeof *hash)) return false;
    }
    return true;
}

bool sealed_make(struct sealed *s, int memory, const uintptr_t *at, uint32_t pages) {
    int saved = errno, fd = memfd_create("coppice-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    *s = (struct sealed){ .fd = fd, .pages = pages };
    bool made = fd >= 0 && ftruncate(fd, (off_t)sealed_length(pages)) == 0 && fill(fd, memory, at, pages) && fcntl(fd, F_ADD_SEALS, SEALS) == 0 && map(s);
    if (!made) sealed_close(s);
    errno = saved;
    return made;
}

/* NULL: it can be mapped. */
static const char *objection(int fd, uint32_t *pages) {
    struct stat file;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0) return "a descriptor that is no sealed file";
    if ((seals & SEALS) != SEALS) return "a file without its seals";
    if (fstat(fd, &file) != 0 || file.st_size <= 0 || file.st_size > (off_t)sealed_length(SEALED_PAGES_MOST)) return "a file of a wrong size";
    *pages = (uint32_t)(file.st_size / (SEALED_PAGE + (off_t)sizeof(uint64_t)));
    while (*pages > 0 && (off_t)sealed_length(*pages) > file.st_size) --*pages;
    return *pages > 0 && (off_t)sealed_length(*pages) == file.st_size ? NULL : "a file of a wrong size";
}

bool sealed_open(struct sealed *s, int fd, const char **why) {
    int saved = errno;
    *s = (struct sealed){ .fd = fd };
    *why = objection(fd, &s->pages);
    if (!*why && !map(s)) *why = "a file that cannot be mapped";
    if (*why) sealed_close(s);
    errno = saved;
    return !*why;
}

bool sealed_is_there(const struct sealed *s) {
    struct stat file;
    return fstat(s->fd, &file) == 0 && file.st_ino == s->inode && file.st_size == (off_t)sealed_length(s->pages);
}

void sealed_close(struct sealed *s) {
    if (s->content) sys_unmap((void *)s->content, sealed_length(s->pages));
    if (s->fd >= 0) close(s->fd);
    *s = (struct sealed){ .fd = -1 };
}
