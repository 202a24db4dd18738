/* refuse.c: what jemalloc would like to ask the outside and may not: the program's MALLOC_CONF and /etc/malloc.conf
 * configure the program's own jemalloc, not ours; a heap inside somebody else's process starts no thread, registers no
 * exit handler and unwinds no stack. Each answer is one that jemalloc takes for "there is none". */
#include "heap/jemalloc.h"
#include <errno.h>

char *heap_no_getenv(const char *name) { return NULL; }

ssize_t heap_no_readlink(const char *path, char *buffer, size_t size) { return -1; }

void *heap_no_dlsym(void *handle, const char *name) { return NULL; }

int heap_no_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) { return EAGAIN; }

int heap_no_atexit(void (*function)(void)) { return 0; }

int heap_no_backtrace(void *function, void *argument) { return 0; }

unsigned long heap_no_ip(void *context) { return 0; }
