/* table.h: equal contents, held once.
 *
 * A *content* is bytes with a tag; two are equal when both are. The *table* holds each content once: an *entry* is what is
 * known of it (references, last use, where its bytes are; intern/entry.h), a block of the store (intern/slab.h) its bytes, the index
 * (intern/index.h) leads from a hash to entries. A *reference* is one answer
 * that was not given back. An entry without references stays, to be found again, until it is *evicted* (the table is full;
 * the entry has not been used since the hand last passed it) or *expired* (its last reference was given back INTERN_MAX_AGE ago). An entry
 * with references goes nowhere, whatever its age: when all are referenced and the table is full, new contents are refused.
 *
 * What a thread has at hand (intern/stock.h) is no reference in this sense.
 *
 * Any thread, not signal handlers. A hit takes no lock; whoever adds or removes takes the table's. */
#ifndef COPPICE_INTERN_TABLE_H
#define COPPICE_INTERN_TABLE_H
#include "base/hints.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intern_content {
    const void *bytes;
    size_t length;
    uint32_t tag;
};

/* Is there a table? Set once, by intern_start. */
extern _Atomic bool intern_started;
static inline bool intern_ready(void) { return likely(atomic_load_explicit(&intern_started, memory_order_acquire)); }
/* Makes the table as the options say, once; they must be loaded. False: switched off, or no memory for it. */
bool intern_start(void) COLD;

/* The rest only while intern_ready(). */

/* The one address of this content, with a reference more; NULL: refused. */
const void *intern(const void *bytes, size_t length, uint32_t tag);
/* Takes a reference back. False, and nothing is changed: it is no interned address, or has no references except what this thread has at
 * hand. */
bool intern_release(const void *interned);
/* What is above its age goes, if it is time to look: for those who clean up while nobody interns. */
void intern_expire(uint64_t now);
/* The length of an interned content. */
bool intern_length(const void *interned, size_t *length);

/* The same with the time (nanoseconds of CLOCK_MONOTONIC) given, and which bits of hashes count: for tests. */
const void *intern_content(const struct intern_content *content, uint64_t now);
bool intern_release_at(const void *interned, uint64_t now);
extern uint64_t intern_hash_bits;
/* Do chains, entries, blocks and counts agree? Takes the lock. */
bool intern_is_valid(void);
#endif
