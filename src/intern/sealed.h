/* sealed.h: files of shared content.
 *
 * A *sealed file* is a memfd with `pages` pages of content, then their hashes, sealed: nobody can write, shrink or grow it any more, so
 * what was compared with it once stays equal. A file that comes from another process is believed nothing: it must have the seals and the
 * right size before it is mapped, and its hashes are only a hint whom to compare. */
#ifndef COPPICE_INTERN_SEALED_H
#define COPPICE_INTERN_SEALED_H
#include "base/sys.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEALED_PAGE = 4096, SEALED_PAGES_MOST = 65536 };
struct sealed {
    struct sys_file file;
    uint32_t pages;
    const char *content; /* mapped read-only */
    const uint64_t *hash;
};

/* Makes a file of the pages at `at[0..pages)` of this process, as they are just now: a page that is being written is equal to
 * nobody's afterwards, and one that has gone is zeros. False: no memory for it. One thread at a time. */
bool sealed_make(struct sealed *s, const uintptr_t *at, uint32_t pages);
/* Maps the file `fd`, which is the sealed's from then on; false: it is not as it must be, and it is closed. `why` says what is wrong. */
bool sealed_open(struct sealed *s, int fd, const char **why);
void sealed_close(struct sealed *s);
uint64_t sealed_hash(const void *page);
static inline size_t sealed_length(uint32_t pages) {
    return (size_t)pages * SEALED_PAGE + ((size_t)pages * sizeof(uint64_t) + SEALED_PAGE - 1) / SEALED_PAGE * SEALED_PAGE;
}
#endif
