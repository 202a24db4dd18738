/* sys.h: the system calls that Coppice makes, behind names that tests can replace.
 * Every function returns a value or a negative errno; none touches the caller's errno, so that a hook can call them
 * at any time without being seen. All are async-signal-safe. */
#ifndef COPPICE_BASE_SYS_H
#define COPPICE_BASE_SYS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Anonymous private memory at `hint` (or anywhere), `protection` as for mmap; reserve-only when protection is PROT_NONE.
 * Returns NULL when the kernel refuses. */
void *sys_map(void *hint, size_t length, int protection);
/* Shared mapping of a file; NULL on failure. */
void *sys_map_file(int fd, size_t length);
int sys_unmap(void *address, size_t length);
int sys_protect(void *address, size_t length, int protection);
int sys_advise(void *address, size_t length, int advice);
int sys_open(const char *path, int flags, int mode);
/* Writes all of it; returns 0 or a negative errno. */
int sys_write_all(int fd, const char *bytes, size_t length);
/* Reads up to `capacity - 1` bytes of a small file and ends them with a NUL; returns the length or a negative errno. */
ssize_t sys_read_file(const char *path, char *buffer, size_t capacity);
#endif
