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

enum { BATCH = 16 };
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

uint64_t sealed_hash(const void *page) { return XXH3_64bits(page, SEALED_PAGE); }

static bool map(struct sealed *s) {
    void *at = mmap(NULL, sealed_length(s->pages), PROT_READ, MAP_SHARED | MAP_NORESERVE, s->file.fd, 0);
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

/* How many of the addresses follow each other, at most BATCH. */
static uint32_t run_of(const uintptr_t *at, uint32_t pages) {
    uint32_t n = 1;
    while (n < pages && n < BATCH && at[n] == at[0] + (uintptr_t)n * SEALED_PAGE) n++;
    return n;
}

/* The kernel reads the pages itself (base/scratch.h says why). What has gone is left as the hole that it is, and equal to no candidate. */
static bool copy_pages(int fd, uintptr_t at, uint32_t pages, uint32_t place) {
    for (uint32_t done = 0; done < pages;) {
        ssize_t n = pwrite(fd, (const void *)(at + (uintptr_t)done * SEALED_PAGE), (size_t)(pages - done) * SEALED_PAGE, (off_t)(place + done) * SEALED_PAGE);
        if (n < 0 && errno != EFAULT && errno != EINTR) return false;
        done += n > 0 ? (uint32_t)(n / SEALED_PAGE) : n < 0 && errno == EINTR ? 0 : 1;
    }
    return true;
}

/* Hashes are of what lies in the file. */
static bool fill(int fd, const uintptr_t *at, uint32_t pages) {
    static char copy[BATCH * SEALED_PAGE];
    for (uint32_t i = 0, n; i < pages; i += n) {
        uint64_t hash[BATCH];
        size_t length = (size_t)(n = run_of(at + i, pages - i)) * SEALED_PAGE;
        if (!copy_pages(fd, at[i], n, i) || pread(fd, copy, length, (off_t)i * SEALED_PAGE) != (ssize_t)length) return false;
        for (uint32_t j = 0; j < n; j++) hash[j] = sealed_hash(copy + (size_t)j * SEALED_PAGE);
        if (!write_at(fd, hash, n * sizeof *hash, (size_t)pages * SEALED_PAGE + i * sizeof *hash)) return false;
    }
    return true;
}

bool sealed_make(struct sealed *s, const uintptr_t *at, uint32_t pages) {
    int saved = errno, made_fd = sys_may_grow(sealed_length(pages)) == 0 ? memfd_create("coppice-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    *s = (struct sealed){ .file = sys_file_of(made_fd), .pages = pages };
    const int fd = s->file.fd;
    bool made = fd >= 0 && ftruncate(fd, (off_t)sealed_length(pages)) == 0 && fill(fd, at, pages) && fcntl(fd, F_ADD_SEALS, SEALS) == 0 && map(s);
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
    *s = (struct sealed){ .file = sys_file_of(fd) };
    *why = objection(s->file.fd, &s->pages);
    if (!*why && !map(s)) *why = "a file that cannot be mapped";
    if (*why) sealed_close(s);
    errno = saved;
    return !*why;
}

void sealed_close(struct sealed *s) {
    if (s->content) sys_unmap((void *)s->content, sealed_length(s->pages));
    sys_file_close(&s->file);
    *s = (struct sealed){ .file = { .fd = -1 } };
}
