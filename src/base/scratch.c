/* scratch.c: see scratch.h. */
#include "base/scratch.h"
#include "base/sys.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

bool scratch_open(struct scratch *s, size_t length) {
    int saved = errno;
    struct sys_file file = sys_file_of(sys_may_grow(length) == 0 ? memfd_create("coppice-scratch", MFD_CLOEXEC) : -1);
    void *at = file.fd >= 0 && ftruncate(file.fd, (off_t)length) == 0 ? mmap(NULL, length, PROT_READ, MAP_SHARED, file.fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED) sys_file_close(&file);
    *s = at == MAP_FAILED ? (struct scratch){ 0 } : (struct scratch){ file, length, at };
    errno = saved;
    return s->bytes;
}

/* A write to what the program has opened under the number would be a write to its file. */
size_t scratch_read(struct scratch *s, uintptr_t at, size_t length) {
    int saved = errno;
    ssize_t got = sys_file_is_open(&s->file) ? pwrite(s->file.fd, (const void *)at, length < s->length ? length : s->length, 0) : 0;
    errno = saved;
    return got > 0 ? (size_t)got : 0;
}

void scratch_close(struct scratch *s) {
    if (!s->bytes) return;
    sys_unmap((void *)s->bytes, s->length);
    sys_file_close(&s->file);
    *s = (struct scratch){ 0 };
}
