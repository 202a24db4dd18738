/* A library loaded with RTLD_DEEPBIND: it looks malloc and free up in glibc first. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
__attribute__((constructor)) static void made_by_glibc_for_us(void) { free(strdup("before dlopen returns")); }
void *library_malloc(size_t size) { return malloc(size); }
void *library_memalign(size_t size) { return memalign(4096, size); }
void *library_calloc(size_t size) { return calloc(1, size); }
void *library_realloc(void *p, size_t size) { return realloc(p, size); }
void library_free(void *p) { free(p); }
