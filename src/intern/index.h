/* index.h: from a hash to the entries that may have it.
 *
 * A *line* is one cache line: fifteen words, and how many entries that belong here or before found it full and lie *past* it. A
 * *word* is the id of an entry and, in the bits that ids leave, a *fragment* of its hash; 0 is free. An entry lies in the first
 * line with room, from the line of its hash on, so a search ends at the first line that nobody has gone past. Lines for thirteen
 * entries each: 4.9 bytes an entry.
 * Readers need no lock: they may miss an entry whose word is being moved or written, never find a wrong one (the
 * table compares). Adding and removing: under the table's lock. */
#ifndef COPPICE_INTERN_INDEX_H
#define COPPICE_INTERN_INDEX_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INDEX_WORDS = 15, INDEX_USUAL = 13 };
struct index_line {
    _Atomic uint32_t past;
    _Atomic uint32_t word[INDEX_WORDS];
};
struct index {
    struct index_line *line;
    uint32_t lines;
    unsigned id_bits;
};
extern struct index intern_index;

/* Room for `most` entries whose ids are below 2^id_bits. False: no memory. */
bool index_init(uint64_t most, unsigned id_bits);
void index_add(uint64_t hash, uint32_t id);
void index_remove(uint64_t hash, uint32_t id);
static inline size_t index_held(void) { return intern_index.lines * sizeof *intern_index.line; }

static inline uint32_t index_home(uint64_t hash) { return (uint32_t)((hash >> 32) * intern_index.lines >> 32); }
/* Where in its line an entry lies if there is room: most are found at the first look. */
static inline unsigned index_first(uint64_t hash) { return (unsigned)((hash & 0xFFFF) * INDEX_WORDS >> 16); }
static inline unsigned index_following(unsigned place) { return place + 1 < INDEX_WORDS ? place + 1 : 0; }
static inline uint32_t index_next(uint32_t line) { return line + 1 < intern_index.lines ? line + 1 : 0; }
/* The fragment, where it stands in a word. */
static inline uint32_t index_fragment(uint64_t hash) { return (uint32_t)((uint64_t)(uint32_t)(hash >> 16) << intern_index.id_bits); }
#endif
