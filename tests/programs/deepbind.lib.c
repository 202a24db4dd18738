/* A library loaded with RTLD_DEEPBIND: its malloc is glibc's. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
void *library_malloc(size_t size) { return malloc(size); }
void *library_memalign(size_t size) { return memalign(4096, size); }
void *library_calloc(size_t size) { return calloc(1, size); }
