/* object.c: memory for handles. A freed handle keeps a zero magic and is reused only for a handle of the same kind, never
 * returned to malloc: a stale handle is then an error code instead of a crash in us. */
#include "sim.h"
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct object *freelist[LINKER - CONTEXT + 1];

void *object_new(enum magic magic, size_t size) {
    pthread_mutex_lock(&lock);
    struct object *o = freelist[magic - CONTEXT];
    if (o) freelist[magic - CONTEXT] = o->next_free;
    pthread_mutex_unlock(&lock);
    if (!o) o = malloc(size);
    if (!o) return NULL;
    memset(o, 0, size);
    o->magic = magic;
    return o;
}

void object_free(void *object) {
    struct object *o = object;
    enum magic magic = (enum magic)o->magic;
    o->magic = DEAD_OBJECT;
    pthread_mutex_lock(&lock);
    o->next_free = freelist[magic - CONTEXT];
    freelist[magic - CONTEXT] = o;
    pthread_mutex_unlock(&lock);
}
