/* sys.h: the system calls that Coppice makes, behind names that tests can replace.
 * Every function returns a value or a negative errno; none touches the caller's errno, so that a hook can call them
 * at any time without being seen. All are async-signal-safe. */
#ifndef COPPICE_BASE_SYS_H
#define COPPICE_BASE_SYS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* No system that we run on has larger pages: what is mapped over static memory is aligned to this. */
#ifdef __x86_64__
enum { PAGE_MOST = 4096 };
#else
enum { PAGE_MOST = 65536 };
#endif

/* Anonymous private memory at `hint` (or anywhere), `protection` as for mmap; reserve-only when protection is PROT_NONE.
 * Returns NULL when the kernel refuses. */
void *sys_map(void *hint, size_t length, int protection);
/* Shared mapping of a file, from its start or from `offset`; NULL on failure. */
void *sys_map_file(int fd, size_t length);
void *sys_map_file_at(int fd, uint64_t offset, size_t length);
int sys_unmap(void *address, size_t length);
int sys_protect(void *address, size_t length, int protection);
int sys_advise(void *address, size_t length, int advice);
/* Gives every page of a mapping memory now; an error where a touch would have been a SIGBUS. -EINVAL before Linux 5.14. */
int sys_populate(void *address, size_t length);
int sys_open(const char *path, int flags, int mode);
/* The same of a file that the user has named: statistics, a trace. */
int sys_open_as_asked(const char *path, int flags, int mode);
/* The program may forbid itself system calls from now on: sys_open refuses, and of our own accord nobody asks the kernel for more than
 * memory. */
void sys_shut_in(void);
bool sys_is_shut_in(void);
/* A descriptor that we keep. A program may close all descriptors that there are, ours too, and open its own under the number: so we know
 * what ours was opened on, and its number is above those that programs count on. */
struct sys_file {
    int fd; /* -1: none */
    uint64_t device, inode;
};
struct sys_file sys_file_of(int fd);
/* Is it still open? Async-signal-safe. */
bool sys_file_is_open(const struct sys_file *f);
/* Closes it, unless the number is the program's now. */
void sys_file_close(struct sys_file *f);
/* Writes all of it; returns 0 or a negative errno. */
int sys_write_all(int fd, const char *bytes, size_t length);
/* As above for a descriptor that may be a pipe, socket or terminal of somebody else's: gives up after `patience`
 * (-ETIMEDOUT) instead of blocking, and a reader that is gone is -EPIPE, never a SIGPIPE. */
int sys_write_patiently(int fd, const char *bytes, size_t length, uint64_t patience_ns);
/* May a file grow to `length` here? Beyond RLIMIT_FSIZE the kernel would send SIGXFSZ. */
int sys_may_grow(uint64_t length);
/* Gives a part of a file room on its disk; where the filesystem cannot, it only gets that long. 0 or a negative errno. */
int sys_allocate(int fd, off_t offset, off_t length);
/* When the process began, in clock ticks since boot (field 22 of /proc/PID/stat; pid 0: this one); 0: there is none. */
uint64_t sys_start_ticks(pid_t pid);
/* Fills the buffer with bytes that nobody can guess: 0, or a negative errno. */
int sys_random(void *buffer, size_t length);
/* Reads up to `capacity - 1` bytes of a small file and ends them with a NUL; returns the length or a negative errno. */
ssize_t sys_read_file(const char *path, char *buffer, size_t capacity);
#endif
