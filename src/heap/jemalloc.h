/* jemalloc.h: jemalloc under the private names that src/heap/jemalloc.syms gives it, and the functions of ours that it
 * calls in the place of libc's. Everything is hidden: a call is a direct call. */
#ifndef COPPICE_HEAP_JEMALLOC_H
#define COPPICE_HEAP_JEMALLOC_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)
extern const char *je_malloc_conf;
extern bool je_opt_cache_oblivious;
void *je_malloc(size_t size);
void *je_calloc(size_t count, size_t size);
void *je_realloc(void *p, size_t size);
void je_free(void *p);
void *je_memalign(size_t alignment, size_t size);
int je_posix_memalign(void **p, size_t alignment, size_t size);
void *je_aligned_alloc(size_t alignment, size_t size);
size_t je_malloc_usable_size(const void *p);
void *je_mallocx(size_t size, int flags);
void *je_rallocx(void *p, size_t size, int flags);
size_t je_xallocx(void *p, size_t size, size_t extra, int flags);
size_t je_sallocx(const void *p, int flags);
void je_dallocx(void *p, int flags);
void je_sdallocx(void *p, size_t size, int flags);
size_t je_nallocx(size_t size, int flags);
int je_mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length);
int je_mallctlnametomib(const char *name, size_t *mib, size_t *length);
int je_mallctlbymib(const size_t *mib, size_t length, void *old, size_t *old_length, void *new, size_t new_length);
void je_malloc_stats_print(void (*write)(void *, const char *), void *opaque, const char *options);
void je_jemalloc_prefork(void);
void je_jemalloc_postfork_parent(void);
void je_jemalloc_postfork_child(void);

/* reserve.c */
void *heap_mmap(void *hint, size_t length, int protection, int flags, int fd, off_t offset);
int heap_munmap(void *at, size_t length);
int heap_madvise(void *at, size_t length, int advice);
int heap_mprotect(void *at, size_t length, int protection);
void *heap_no_sbrk(intptr_t change);
/* fork.c */
int heap_mutex_lock(pthread_mutex_t *m);
int heap_mutex_trylock(pthread_mutex_t *m);
int heap_mutex_unlock(pthread_mutex_t *m);
int heap_no_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
/* refuse.c */
char *heap_no_getenv(const char *name);
ssize_t heap_no_readlink(const char *path, char *buffer, size_t size);
void *heap_no_dlsym(void *handle, const char *name);
int heap_no_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int heap_no_atexit(void (*function)(void));
int heap_no_backtrace(void *function, void *argument);
unsigned long heap_no_ip(void *context);
#pragma GCC visibility pop
#endif
