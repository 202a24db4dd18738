/* notes.h: what the sharing thread knows of the heap's pages (intern/share.h). Everything here belongs to that thread.
 *
 * A *note* a page: the hash of what was read there last, and two flags in its lowest bits. A page that is *known* need not be read: it was
 * the same at two looks, or lies beside one that was. One that was *offered* has been spoken of to the broker with this hash. Pages of
 * zeros are never offered: they are cheaper given back (heap/zero.h). */
#ifndef COPPICE_INTERN_NOTES_H
#define COPPICE_INTERN_NOTES_H
#include "heap/reach.h"
#include "intern/channel.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTE_OFFERED CHANNEL_AGAIN
#define NOTE_KNOWN ((uint64_t)2)
#define NOTE_ZEROS (CHANNEL_FLAGS + 1) /* stands for the hash of a page of zeros */

enum { NOTES_GROUP = 32, NOTES_GROUPS = REACH_PAGES / NOTES_GROUP }; /* pages that are looked at together */
struct group {
    uint8_t probe;            /* the page that is read first while pages are unknown */
    uint8_t seen : 1;         /* its note is of the last look */
    uint8_t still : 3;        /* looks at which it has been the same */
    uint8_t vain : 4;         /* times that the group was read as a whole and then changed */
};
struct chunk {
    uint32_t due_ms, interval_ms; /* of its looks */
    uint16_t equal;               /* pages that somebody else has too, of the last offers: for the kernel to merge */
    bool advised;
    bool rests;                   /* nothing had changed at the last look */
    uint8_t looks;                /* so far; goes round */
    struct group group[NOTES_GROUPS];
};
struct page_ref { uint32_t segment, page; };

/* Makes room for notes of `pages` pages from `base` on; false: there is none, the segment cannot be looked at. */
bool notes_ready(uint32_t segment, uintptr_t base, size_t pages);
uint64_t *notes_of(struct page_ref p);
struct chunk *notes_chunk(struct page_ref p);
uintptr_t notes_address(struct page_ref p);
/* The hash of a page's content as a note has it, never 0: that is a note of nothing. */
uint64_t notes_hash(const void *content);
static inline bool note_is_known(uint64_t note) { return note & NOTE_KNOWN; }
static inline uint64_t note_hash(uint64_t note) { return note & ~CHANNEL_FLAGS; }
/* Is it worth an offer? */
static inline bool note_is_steady(uint64_t note) { return note_is_known(note) && note_hash(note) != NOTE_ZEROS; }
/* After a fork: the child begins anew. */
void notes_drop(void);
#endif
