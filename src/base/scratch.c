/* scratch.c: see scratch.h. */
#include "base/scratch.h"
#include "base/sys.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

bool scratch_open(struct scratch *s, size_t length) {
    int saved = errno, fd = sys_may_grow(length) == 0 ? memfd_create("coppice-scratch", MFD_CLOEXEC) : -1;
    void *at = fd >= 0 && ftruncate(fd, (off_t)length) == 0 ? mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED && fd >= 0) close(fd);
    *s = at == MAP_FAILED ? (struct scratch){ 0 } : (struct scratch){ fd, length, at };
    errno = saved;
    return s->bytes;
}

size_t scratch_read(struct scratch *s, uintptr_t at, size_t length) {
    int saved = errno;
    ssize_t got = pwrite(s->fd, (const void *)at, length < s->length ? length : s->length, 0);
    errno = saved;
    return got > 0 ? (size_t)got : 0;
}

void scratch_close(struct scratch *s) {
    if (!s->bytes) return;
    sys_unmap((void *)s->bytes, s->length);
    int saved = errno;
    close(s->fd);
    errno = saved;
    *s = (struct scratch){ 0 };
}
