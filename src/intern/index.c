/* index.c: adding to lines and removing; see index.h. */
#include "intern/index.h"
#include "base/hints.h"
#include "base/sys.h"
#include <sys/mman.h>

_Static_assert(sizeof(struct index_line) == 64, "a line is a cache line");
struct index intern_index;

bool index_init(uint64_t most, unsigned id_bits) {
    intern_index.lines = (uint32_t)(most / INDEX_USUAL + 2);
    intern_index.id_bits = id_bits;
    intern_index.line = sys_map(NULL, intern_index.lines * sizeof(struct index_line), PROT_READ | PROT_WRITE);
    return intern_index.line != NULL;
}

/* The place of this word in a line, looked for from `first` on; INDEX_WORDS when it is not there. */
static unsigned place_of(const struct index_line *line, uint32_t word, unsigned first) {
    unsigned place = first;
    do {
        if (atomic_load_explicit(&line->word[place], memory_order_relaxed) == word) return place;
        place = index_following(place);
    } while (place != first);
    return INDEX_WORDS;
}

/* From the home of `hash` to the line that has `what`, which becomes `with`; lines on the way are passed by `change` more. */
static void replace(uint64_t hash, uint32_t what, uint32_t with, int change) {
    uint32_t n = index_home(hash);
    unsigned place;
    for (uint32_t steps = 0; (place = place_of(&intern_index.line[n], what, index_first(hash))) == INDEX_WORDS; n = index_next(n), steps++) {
        invariant(steps < intern_index.lines);
        atomic_fetch_add_explicit(&intern_index.line[n].past, (uint32_t)change, memory_order_relaxed);
    }
    atomic_store_explicit(&intern_index.line[n].word[place], with, memory_order_release);
}

static uint32_t word_of(uint64_t hash, uint32_t id) { return id | index_fragment(hash); }
void index_add(uint64_t hash, uint32_t id) { replace(hash, 0, word_of(hash, id), 1); }
void index_remove(uint64_t hash, uint32_t id) { replace(hash, word_of(hash, id), 0, -1); }
